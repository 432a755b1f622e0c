"""What a report does not prove, said in every one of them."""

LIMITS = (
    "A name is the nearest phrase to what the encoder says where a concept stands. It can be wrong, and it does not say"
    " what the network does with the concept. The crops are the concept.",
    "A confidence was fitted once on names of the backbone “small” whose rightness is known. On another backbone trust"
    " its order more than its level.",
    "An edge says that the child seldom stands without the parent, more often than chance. It is no proof that one is a"
    " kind or a part of the other.",
    "A concept that is active says what a patch looks like to the encoder. It is not a class, and not a cause.",
    "Do not use names of concepts to identify or to judge people: they repeat how captions and word lists speak.",
)

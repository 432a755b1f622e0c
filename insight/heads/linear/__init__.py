"""Sparse linear heads on CSR rows: multinomial logistic regression under an elastic net, exactly and streamed."""

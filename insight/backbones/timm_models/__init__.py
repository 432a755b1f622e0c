"""timm's models: as backbones of their own (`vision`), and the blocks that other towers are built of."""

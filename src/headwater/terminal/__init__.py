"""What the commands of `headwater` do. Each module is imported by its command only, so that `--help` stays fast."""

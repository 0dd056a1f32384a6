"""What another package adds to Headwater: one file for each entry."""

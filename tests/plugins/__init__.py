"""Another package that adds one entry to each of four sockets, and a real run that uses them."""

"""Other toolkits' own training loops behind one small interface; see `yardstick`. One file a peer, run as a module."""

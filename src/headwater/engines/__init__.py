"""When and where arms and cells are computed, never what: that is headwater.work."""

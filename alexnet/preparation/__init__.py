"""Images of any source to a data set, and a published data set checked."""

"""One file a source: what a pipeline's `[source] type` may be."""

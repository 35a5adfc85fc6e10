//! What a worker reads: immutable, index-linked, compact.

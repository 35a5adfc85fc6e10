//! Read-copy-update by quiescent states: publish, pin, reclaim.

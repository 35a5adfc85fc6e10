//! Resources as the orchestrator states them, in EC2's words, and their validation.

//! A running node: configuration, workers, management thread, replay.

//! The control socket: requests, replies, and the tables that `warren show` prints.

//! What `libwarren.so` is linked from: the C API, whose functions are `warren::ffi::plugin`'s.
//!
//! rustc's own shared libraries have one version script, without names for versions; so `ci/build-plugin.sh` links this static
//! library with `warren.map`, which names the version of each function.

pub use ::warren::ffi::plugin::*;

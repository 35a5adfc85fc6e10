//! `warren.h` is what cbindgen makes of the sources.

use cbindgen::{Builder, Config};

use super::{compare, package, root};

#[test]
fn the_header_is_generated() {
    let config = Config::from_file(package().join("cbindgen.toml")).unwrap();
    // Its modules are found from there.
    let builder = Builder::new().with_config(config).with_src(root().join("src/ffi/plugin/mod.rs"));
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    compare("warren.h", &String::from_utf8(header).unwrap());
}

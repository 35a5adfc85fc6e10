//! `warren.h` is what cbindgen makes of the sources.

use cbindgen::{Builder, Config};

use super::{compare, package, root};

#[test]
fn the_header_is_generated() {
    let config = Config::from_file(package().join("cbindgen.toml")).unwrap();
    let sources = ["mod", "error", "log", "node", "worker"];
    let sources = sources.map(|name| root().join(format!("src/ffi/plugin/{name}.rs")));
    let builder = sources.into_iter().fold(Builder::new().with_config(config), Builder::with_src);
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    compare("warren.h", &String::from_utf8(header).unwrap());
}

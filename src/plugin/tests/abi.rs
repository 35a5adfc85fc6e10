//! What programs that are compiled already depend on: exported functions with their versions, what structs look like, what constants
//! are. `abi.txt` is that of the last version: what stands there, stays, or the SONAME changes.

use std::{collections::BTreeSet, fmt::Write as _, fs, process::Command};

use super::{built, compare, compile, library, package, run};

/// `nm`'s lines of functions: `warren_open@@WARREN_0.1`.
fn symbols() -> Vec<String> {
    let library = library().join("lib/libwarren.so.0");
    let output =
        run(Command::new("nm").args(["-D", "--defined-only", "--with-symbol-versions"]).arg(library));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut symbols: Vec<_> =
        text.lines().filter_map(|line| line.split(' ').nth(2)).map(str::to_owned).collect();
    symbols.retain(|symbol| !symbol.starts_with("WARREN_"));
    symbols.sort();
    symbols
}

/// The structs of the header with their members, and its constants.
fn declared() -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let header = fs::read_to_string(package().join("warren.h")).unwrap();
    let (mut structs, mut constants) = (Vec::<(String, Vec<String>)>::new(), Vec::new());
    let mut inside = false;
    for line in header.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        if let Some(name) = line.strip_prefix("struct ").and_then(|rest| rest.strip_suffix(" {")) {
            structs.push((name.to_owned(), Vec::new()));
            inside = true;
        } else if line == "};" {
            inside = false;
        } else if let (true, Some(member)) = (inside, line.strip_suffix(';')) {
            // `type name`, `type *name`, `type name[COUNT]`, `type (*name)(…)`.
            let pointer = member.split_once("(*").and_then(|(_, rest)| rest.split(')').next());
            let plain = || member.split('[').next().and_then(|it| it.rsplit([' ', '*']).next());
            let name = pointer.or_else(plain).unwrap();
            structs.last_mut().unwrap().1.push(name.to_owned());
        } else if let Some(constant) = line.strip_prefix("#define WARREN_") {
            constants.extend(constant.split_once(' ').map(|(name, _)| format!("WARREN_{name}")));
        }
    }
    constants.retain(|name| name != "WARREN_VERSION");
    (structs, constants)
}

/// What the compiler says of them.
fn layout() -> String {
    let (structs, constants) = declared();
    assert!(structs.len() > 5 && constants.len() > 10, "{structs:?} {constants:?}");
    let mut source = "#include <stdio.h>\n#include <warren.h>\nint main(void)\n{\n".to_owned();
    for (name, members) in &structs {
        let _ = writeln!(source, "printf(\"struct {name}: %zu bytes\\n\", sizeof(struct {name}));");
        for member in members {
            let of = format!("offsetof(struct {name}, {member}), sizeof(((struct {name} *)0)->{member})");
            let _ = writeln!(source, "printf(\"{name}.{member}: at %zu, %zu bytes\\n\", {of});");
        }
    }
    for name in &constants {
        let _ = writeln!(source, "printf(\"{name} = %lld\\n\", (long long){name});");
    }
    source += "return 0;\n}\n";
    let path = built().join("layout.c");
    fs::write(&path, source).unwrap();
    let program = compile(&path, "layout");
    let output = run(Command::new(program).env("LD_LIBRARY_PATH", library().join("lib")));
    String::from_utf8(output.stdout).unwrap()
}

/// `libwarren.so.0`.
fn soname() -> String {
    let output = run(Command::new("readelf").arg("-d").arg(library().join("lib/libwarren.so")));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("(SONAME)")).unwrap();
    line.split(['[', ']']).nth(1).unwrap().to_owned()
}

#[test]
fn the_binary_interface_stays() {
    let soname = format!("SONAME {}\n", soname());
    let now = [soname.clone(), layout(), symbols().join("\n"), "\n".to_owned()].concat();
    let committed = fs::read_to_string(package().join("abi.txt")).unwrap_or_default();
    if committed.starts_with(&soname) {
        let current: BTreeSet<_> = now.lines().collect();
        let gone: Vec<_> = committed.lines().filter(|line| !current.contains(line)).collect();
        assert!(gone.is_empty(), "programs depend on this: leave it, or change the SONAME\n{gone:#?}");
    }
    compare("abi.txt", &now);
}

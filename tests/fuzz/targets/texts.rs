//! What people and programs write: state documents, host files, requests of the control socket.

use std::path::Path;

use warren::{
    api::Request,
    model::{Document, Errors, Model, diff, load, warnings},
    node::config::HostConfig,
    trace::Node,
};

use super::node;

fn read(text: &str) -> Result<Model, Errors> {
    load(&[Document { name: "fuzzed".into(), text: text.into() }])
}

/// A state is a model or has errors that name a fix; and the quick reader, which reads the plain form only, makes the same
/// of a text as the full one.
pub(crate) fn state(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let loaded = read(text);
    match &loaded {
        Ok(model) => {
            assert!(diff(model, model).is_empty());
            warnings(model);
        }
        Err(errors) => {
            for error in &errors.0 {
                assert!(!error.problem.is_empty() && !error.fix.is_empty(), "{error}");
            }
        }
    }
    // The end of a document, explicit, changes nothing, and is not plain.
    if text.ends_with('\n') && !text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).starts_with('{')
    {
        let full = read(&format!("{text}...\n"));
        match (&loaded, &full) {
            (Ok(quick), Ok(full)) => assert_eq!(quick, full),
            // What is no YAML, may be none in another way.
            (Err(quick), Err(full)) if quick.0.iter().any(|error| error.path.starts_with("line ")) => {
                assert_eq!(quick.0.len(), full.0.len());
            }
            (Err(quick), Err(full)) => assert_eq!(quick.0, full.0),
            _ => panic!("the readers disagree: {loaded:?}, {full:?}"),
        }
    }
}

/// A host file is one, or all its problems are sentences.
pub(crate) fn host_file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match HostConfig::parse(text, Path::new("/etc/warren")) {
        Ok(config) => {
            config.warnings().iter().for_each(|warning| assert!(!warning.is_empty()));
            assert_eq!(config.site(warren::node::replay::stand_in_mac).ports.len(), config.ports.len());
        }
        Err(problems) => assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.is_empty())),
    }
}

thread_local! {
    static NODE: Node = node::manager(node::VXLAN).0.node();
}

/// A line is a request, which is answered, or it is none; and what a client would write is read as the same.
pub(crate) fn request(input: &[u8]) {
    let Ok(line) = std::str::from_utf8(input) else { return };
    let Ok(request) = serde_json::from_str::<Request>(line) else { return };
    let written = serde_json::to_string(&request).expect("JSON");
    let again: Request = serde_json::from_str(&written).expect("a request");
    assert_eq!(serde_json::to_string(&again).expect("JSON"), written);
    match request {
        Request::Trace(probe) => NODE.with(|node| match node.trace(&probe) {
            Ok(trace) => assert!(!trace.outcomes.is_empty()),
            Err(problem) => assert!(!problem.is_empty()),
        }),
        Request::Apply(documents) => drop(load(&documents)),
        _ => {}
    }
}

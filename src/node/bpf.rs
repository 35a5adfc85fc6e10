//! Filter expressions of captures, through libpcap.

use pcap::{Capture, Linktype};

use super::capture::Filter;

/// Compiles an expression (pcap-filter(7)) for Ethernet frames.
///
/// # Errors
///
/// What libpcap finds wrong with it.
pub fn compile(expression: &str) -> Result<Filter, String> {
    let compile = || Capture::dead(Linktype::ETHERNET)?.compile(expression, true);
    let program = compile().map_err(|error| match error {
        pcap::Error::PcapError(problem) => problem,
        other => other.to_string(),
    })?;
    // Running it is plain C on the stack: no allocation, no lock, no system call.
    Ok(Box::new(move |frame| program.filter(frame)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_decides_on_frames() {
        // An ARP request, and an IPv4 header with TCP from port 443.
        let arp = [&[0xff; 6][..], &[2; 6], &[0x08, 0x06], &[0; 28]].concat();
        let mut tcp = [&[2; 12][..], &[0x08, 0x00, 0x45], &[0; 19], &[0x01, 0xbb], &[0; 18]].concat();
        tcp[14 + 9] = 6;
        let passes = |expression| [&arp, &tcp].map(|frame| compile(expression).unwrap()(frame));
        assert_eq!(passes("arp"), [true, false]);
        assert_eq!(passes("tcp port 443"), [false, true]);
        assert_eq!(passes("tcp port 80"), [false, false]);
        assert_eq!(passes("len > 50"), [false, true]);
        assert_eq!(passes(""), [true, true]);
    }

    #[test]
    fn a_wrong_expression_is_explained() {
        for (expression, problem) in [("tcp prot 443", "syntax error"), ("tcp\0", "nul")] {
            let error = compile(expression).err().unwrap();
            assert!(error.contains(problem), "{expression}: {error}");
        }
    }
}

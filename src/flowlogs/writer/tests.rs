use std::{collections::BTreeMap as Map, fs, io::Read, path::Path};

use flate2::read::MultiGzDecoder;
use proptest::prelude::*;

use super::*;
use crate::flowlogs::{
    Action, Format, Traffic,
    testing::{log, record, settings},
};

/// When the node of a test started.
const STARTED: Duration = Duration::from_secs(1_700_000_000);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn interface(id: &str) -> Arc<Interface> {
    Arc::new(Interface {
        id: id.into(),
        vpc: "vpc-1".into(),
        subnet: "subnet-1".into(),
        primary4: Some([10, 0, 0, 2].into()),
        ..Interface::default()
    })
}

fn at(eni: u32, second: u64) -> FlowRecord {
    FlowRecord { start: seconds(second), end: seconds(second), ..record(eni) }
}

/// All lines of complete files, without the first of each, by log.
fn lines(folder: &Path) -> Map<String, Vec<String>> {
    let mut lines: Map<String, Vec<String>> = Map::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let of_log = lines.entry(entry.file_name().into_string().unwrap()).or_default();
        for file in fs::read_dir(entry.path()).unwrap().map(|file| file.unwrap().path()) {
            assert!(file.to_str().unwrap().ends_with(".log.gz"), "{file:?}");
            let mut text = String::new();
            MultiGzDecoder::new(fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
            of_log.extend(text.lines().skip(1).map(str::to_owned));
        }
        of_log.sort();
    }
    lines
}

/// The writer of a test, with its time.
struct Test {
    folder: tempfile::TempDir,
    writer: Writer,
    now: Duration,
}

impl Test {
    fn new(interfaces: &[(u32, &str)], logs: Vec<Log>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::new(settings(folder.path()), STARTED);
        let mut test = Self { folder, writer, now: Duration::ZERO };
        test.state(0, interfaces, logs);
        test
    }

    fn state(&mut self, second: u64, interfaces: &[(u32, &str)], logs: Vec<Log>) {
        self.until(second);
        let interfaces = interfaces.iter().map(|(number, id)| (*number, interface(id))).collect();
        self.writer.set_state(self.now, STARTED, interfaces, logs);
    }

    fn add(&mut self, record: FlowRecord) {
        self.writer.add(self.now, STARTED, &record);
    }

    fn until(&mut self, second: u64) {
        self.now = seconds(second);
        self.writer.tick(self.now, STARTED);
        while self.writer.write(self.now, STARTED, 7) {}
    }

    fn end(self, second: u64) -> (Map<String, Vec<String>>, Vec<LogStatus>) {
        let status = self.writer.end(seconds(second), STARTED);
        (lines(self.folder.path()), status)
    }
}

fn short(id: &str, resource: &str) -> Log {
    let format =
        Format::parse("${interface-id} ${dstport} ${packets} ${bytes} ${start} ${end} ${log-status}")
            .unwrap();
    Log { format, ..log(id, resource) }
}

#[test]
fn a_flow_has_a_line_an_interval_and_an_eni_without_flows_says_so() {
    // FL-3, FL-8.
    let mut test = Test::new(&[(1, "eni-1"), (2, "eni-2")], vec![short("fl-1", "vpc-1")]);
    for second in [3, 5, 59] {
        test.add(at(1, second));
    }
    test.until(64);
    assert!(lines(test.folder.path()).is_empty(), "records may be on their way");
    test.until(65);
    test.add(at(1, 64));
    let (lines, status) = test.end(70);
    assert_eq!(
        lines["fl-1"],
        [
            "eni-1 2000 1 100 1700000064 1700000064 OK",
            "eni-1 2000 3 300 1700000003 1700000059 OK",
            "eni-2 - - - 1700000000 1700000060 NODATA",
            "eni-2 - - - 1700000060 1700000070 NODATA",
        ]
    );
    assert_eq!((status[0].records, status[0].enis, status[0].lost_records), (2, 2, 0));
}

#[test]
fn logs_are_of_an_eni_its_subnet_or_its_vpc_and_of_some_traffic() {
    let mut logs: Vec<Log> = [("fl-1", "eni-1"), ("fl-2", "subnet-1"), ("fl-3", "vpc-1"), ("fl-4", "vpc-2")]
        .map(|(id, resource)| short(id, resource))
        .into();
    logs.push(Log { traffic: Traffic::Reject, ..short("fl-5", "eni-1") });
    logs.push(Log { traffic: Traffic::Accept, ..short("fl-6", "eni-1") });
    let mut test = Test::new(&[(1, "eni-1")], logs);
    test.add(at(1, 1));
    test.add(FlowRecord { action: Action::Reject, destination_port: 22, ..at(1, 2) });
    let (lines, _) = test.end(10);
    let accepted = "eni-1 2000 1 100 1700000001 1700000001 OK".to_owned();
    let rejected = "eni-1 22 1 100 1700000002 1700000002 OK".to_owned();
    let both = vec![accepted.clone(), rejected.clone()];
    assert_eq!([&lines["fl-1"], &lines["fl-2"], &lines["fl-3"]], [&both; 3]);
    assert!(!lines.contains_key("fl-4"));
    assert_eq!((&lines["fl-5"], &lines["fl-6"]), (&vec![rejected], &vec![accepted]));
}

#[test]
fn lost_records_are_told_to_the_enis_of_their_slot() {
    // FL-8.
    let mut test = Test::new(&[(1, "eni-1"), (2, "eni-2")], vec![short("fl-1", "vpc-1")]);
    test.add(at(1, 1));
    test.add(at(2, 1));
    test.writer.lose(slot(1), 5);
    let (lines, status) = test.end(10);
    assert_eq!(
        lines["fl-1"],
        [
            "eni-1 - - - 1700000000 1700000010 SKIPDATA",
            "eni-1 2000 1 100 1700000001 1700000001 OK",
            "eni-2 2000 1 100 1700000001 1700000001 OK",
        ]
    );
    assert_eq!(status[0].lost_records, 5);
}

#[test]
fn an_eni_that_left_is_logged_to_its_end_and_one_that_comes_from_its_start() {
    let mut test = Test::new(&[(1, "eni-1")], vec![short("fl-1", "vpc-1")]);
    test.add(at(1, 1));
    test.until(29);
    // The worker knew of the second before the writer.
    test.add(at(2, 29));
    test.state(30, &[(2, "eni-2")], vec![short("fl-1", "vpc-1")]);
    test.add(at(1, 31));
    test.until(66);
    // Its last interval is over.
    test.add(at(1, 32));
    let (lines, _) = test.end(70);
    assert_eq!(
        lines["fl-1"],
        [
            "eni-1 2000 2 200 1700000001 1700000031 OK",
            "eni-2 - - - 1700000060 1700000070 NODATA",
            "eni-2 2000 1 100 1700000029 1700000029 OK",
        ]
    );
}

#[test]
fn a_log_that_is_gone_is_written_and_another_of_its_id_begun() {
    // FL-12: what is changed, is another log.
    let mut test = Test::new(&[(1, "eni-1")], vec![short("fl-1", "vpc-1")]);
    test.add(at(1, 1));
    let changed = Log { format: Format::parse("${dstport} ${log-status}").unwrap(), ..log("fl-1", "vpc-1") };
    test.state(10, &[(1, "eni-1")], vec![changed]);
    test.until(11);
    test.until(12);
    assert_eq!(
        lines(test.folder.path())["fl-1"],
        ["eni-1 2000 1 100 1700000001 1700000001 OK"],
        "complete at once"
    );
    test.add(at(1, 12));
    let (lines, status) = test.end(20);
    assert_eq!(lines["fl-1"], ["2000 OK", "eni-1 2000 1 100 1700000001 1700000001 OK"]);
    assert_eq!(status.len(), 1);
}

#[test]
fn link_local_services_are_not_logged() {
    // FL-9.
    let mut test = Test::new(&[(1, "eni-1")], vec![short("fl-1", "vpc-1")]);
    for address in ["169.254.169.254", "169.254.169.123", "fd00:ec2::253", "255.255.255.255"] {
        let address = address.parse().unwrap();
        test.add(FlowRecord { source: address, ..at(1, 1) });
        test.add(FlowRecord { destination: address, ..at(1, 1) });
    }
    assert_eq!(test.end(10).0["fl-1"], ["eni-1 - - - 1700000000 1700000010 NODATA"]);
}

#[test]
fn a_writer_that_is_full_says_so_until_lines_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(Settings { flows: 10, ..settings(folder.path()) }, STARTED);
    writer.set_state(Duration::ZERO, STARTED, vec![(1, interface("eni-1"))], vec![short("fl-1", "vpc-1")]);
    let mut added = 0;
    while !writer.is_full() {
        added += 1;
        writer.add(seconds(1), STARTED, &FlowRecord { destination_port: added, ..at(1, 1) });
    }
    assert_eq!(added, 10);
    while writer.write(seconds(2), STARTED, 3) {}
    assert!(!writer.is_full());
    writer.end(seconds(3), STARTED);
    assert_eq!(lines(folder.path())["fl-1"].len(), 10, "each flow, and no NODATA");
}

/// What happens to a writer.
#[derive(Clone, Debug)]
enum Event {
    Add {
        eni: u32,
        port: u16,
        rejected: bool,
        age: u64,
        packets: u64,
    },
    Lose(u32),
    Pass(u64),
    Write(usize),
    /// The ENIs that are there, and the logs, as bits.
    State(u8, u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0..4_u32, 0..5_u16, any::<bool>(), 0..200_u64, 1..100_u64).prop_map(
            |(eni, port, rejected, age, packets)| Event::Add { eni, port, rejected, age, packets }
        ),
        1 => (0..4_u32).prop_map(Event::Lose),
        3 => (0..90_u64).prop_map(Event::Pass),
        2 => (0..5_usize).prop_map(Event::Write),
        1 => any::<(u8, u8)>().prop_map(|(enis, logs)| Event::State(enis, logs)),
    ]
}

fn pick<T: Clone>(all: &[T], bits: u8) -> Vec<T> {
    all.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, item)| item.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The lines of a log add up to what was pushed while log and ENI were there, however it is cut into intervals,
    /// spilt, and written; and each loss is told.
    #[test]
    fn lines_add_up(events in prop::collection::vec(event(), 1..120), flows in 2..40_usize) {
        let logs = [
            short("fl-0", "vpc-1"),
            Log { interval: seconds(600), ..short("fl-1", "subnet-1") },
            Log { traffic: Traffic::Accept, ..short("fl-2", "eni-1") },
            Log { traffic: Traffic::Reject, ..short("fl-3", "vpc-1") },
        ];
        let all: Vec<_> = (0..4).map(|number| (number, interface(&format!("eni-{number}")))).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(
            Settings { flows, file_bytes: 200, ..settings(folder.path()) },
            STARTED,
        );
        let (mut now, mut enis, mut live) = (Duration::ZERO, 0b1111, 0b1111);
        writer.set_state(now, STARTED, all.clone(), logs.to_vec());
        let mut expected: Map<(String, String, u16), (u64, u64)> = Map::new();
        let mut losses = 0;
        for event in events {
            match event {
                Event::Add { eni, port, rejected, age, packets } if enis >> eni & 1 == 1 => {
                    let action = if rejected { Action::Reject } else { Action::Accept };
                    let start = now.saturating_sub(seconds(age));
                    let record = FlowRecord {
                        start, end: now, destination_port: port, action, packets, bytes: packets * 60, ..record(eni)
                    };
                    for log in pick(&logs, live) {
                        if log.covers(&all[eni as usize].1) && log.traffic.takes(action) {
                            let sums = expected
                                .entry((log.id.to_string(), format!("eni-{eni}"), port))
                                .or_default();
                            sums.0 += packets;
                            sums.1 += packets * 60;
                        }
                    }
                    writer.add(now, STARTED, &record);
                }
                Event::Add { .. } => {}
                Event::Lose(eni) => {
                    writer.lose(slot(eni), 1);
                    losses += u64::from((enis >> eni & 1 == 1) && (live & 0b1011 != 0 || (live & 0b100 != 0 && eni == 1)));
                }
                Event::Pass(passed) => {
                    now += seconds(passed);
                    writer.tick(now, STARTED);
                }
                Event::Write(most) => drop(writer.write(now, STARTED, most)),
                Event::State(new_enis, new_logs) => {
                    // A stay that has ended never comes again.
                    enis &= new_enis;
                    live = new_logs;
                    writer.set_state(now, STARTED, pick(&all, enis), pick(&logs, live));
                }
            }
        }
        writer.end(now, STARTED);
        let mut found: Map<(String, String, u16), (u64, u64)> = Map::new();
        let mut skipped = 0;
        for (log, lines) in lines(folder.path()) {
            for line in lines {
                let fields: Vec<_> = line.split(' ').collect();
                skipped += u64::from(fields[6] == "SKIPDATA");
                if let Ok(port) = fields[1].parse() {
                    let sums = found.entry((log.clone(), fields[0].into(), port)).or_default();
                    sums.0 += fields[2].parse::<u64>().unwrap();
                    sums.1 += fields[3].parse::<u64>().unwrap();
                    prop_assert!(fields[4] <= fields[5]);
                }
            }
        }
        prop_assert_eq!(found, expected);
        prop_assert!(skipped > 0 || losses == 0);
    }
}

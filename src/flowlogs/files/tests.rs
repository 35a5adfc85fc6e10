use std::{io::Read, sync::Arc};

use flate2::read::MultiGzDecoder;

use super::*;
use crate::flowlogs::testing::{log, settings};

const NOON: Duration = Duration::from_secs(1_529_496_000);

fn at(seconds: u64) -> (Duration, Duration) {
    (Duration::from_secs(seconds), NOON + Duration::from_secs(seconds))
}

/// Writes a line of a flow.
fn write(files: &mut LogFiles, seconds: u64, text: &str) {
    let (now, unix) = at(seconds);
    files.line(true, |out| out.push_str(text));
    files.flush(now, unix);
}

fn rotate(files: &mut LogFiles, seconds: u64) -> bool {
    let (now, unix) = at(seconds);
    files.rotate(now, unix)
}

fn names(folder: &Path) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut names: Vec<_> = files(folder).unwrap().into_iter().map(name).collect();
    names.sort();
    names
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_file_gets_awss_name_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log("fl-1234abcd", "vpc-1");
    (log.account, log.region) = (Some("123456789012".into()), Some("us-east-1".into()));
    let mut files = LogFiles::new(&settings(folder.path()), &log, 0);
    assert!(!rotate(&mut files, 1000), "nothing to write");
    write(&mut files, 1000, "one\n");
    write(&mut files, 1299, "two\n");
    assert!(!rotate(&mut files, 1299));
    assert!(names(folder.path()).iter().all(|name| name.starts_with('.')), "hidden until complete");
    assert!(rotate(&mut files, 1300));
    let last = files.written().last.clone().unwrap();
    assert_eq!(names(folder.path()), [last.as_str()]);
    let (stem, hash) = last.rsplit_once('_').unwrap();
    assert_eq!(stem, "123456789012_vpcflowlogs_us-east-1_fl-1234abcd_20180620T1221Z");
    assert!(hash.len() == "5d2c6f1e.log.gz".len() && hash.ends_with(".log.gz"), "{hash}");
    let path = folder.path().join("fl-1234abcd").join(&last);
    assert_eq!(files.written().bytes, path.metadata().unwrap().len());
    let mut header = String::new();
    log.format.header(&mut header);
    assert_eq!(read(&path), format!("{header}one\ntwo\n"));
    write(&mut files, 1301, "three\n");
    assert!(rotate(&mut files, 2000));
    assert_eq!((names(folder.path()).len(), files.written().records), (2, 3));
}

#[test]
fn a_file_that_is_large_enough_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { file_bytes: 1, ..settings(folder.path()) };
    let mut files = LogFiles::new(&settings, &log("fl-1", "vpc-1"), 0);
    for second in 0..3 {
        write(&mut files, second, "line\n");
    }
    let names = names(folder.path());
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.iter().all(|name| name.ends_with(COMPLETE)), "{names:?}");
}

#[test]
fn disk_errors_lose_lines_by_count_and_are_over_when_they_are_over() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("fl-1");
    fs::write(&blocked, "in the way").unwrap();
    let mut files = LogFiles::new(&settings(folder.path()), &log("fl-1", "vpc-1"), 0);
    write(&mut files, 1, "lost\n");
    assert!(files.written().problem.as_ref().is_some_and(|problem| problem.contains("fl-1")));
    fs::remove_file(&blocked).unwrap();
    write(&mut files, 2, "lost, as nothing is tried yet\n");
    write(&mut files, 11, "written\n");
    let written = files.written();
    assert_eq!((written.records, written.lost, &written.problem), (1, 2, &None));
    // Somebody removes the folder.
    fs::remove_dir_all(&blocked).unwrap();
    assert!(rotate(&mut files, 400));
    assert!(files.written().problem.is_some());
    write(&mut files, 500, "written again\n");
    assert!(rotate(&mut files, 900));
    assert_eq!((names(folder.path()).len(), &files.written().problem), (1, &None));
}

#[test]
fn the_files_of_a_run_that_was_killed_are_completed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let other = Settings { host: "host-2".into(), ..settings.clone() };
    for settings in [&settings, &other] {
        write(&mut LogFiles::new(settings, &log("fl-1", "vpc-1"), 3), 1, "saved\n");
    }
    recover(&settings, NOON).unwrap();
    let names = names(folder.path());
    let (complete, growing): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.ends_with(COMPLETE));
    assert_eq!((complete.len(), growing.len()), (1, 1), "another host's is its own: {names:?}");
    assert!(complete[0].starts_with("unknown_vpcflowlogs_unknown_fl-1_20180620T1200Z_"));
    assert!(read(&folder.path().join("fl-1").join(complete[0])).ends_with("\nsaved\n"));
}

#[test]
fn the_oldest_files_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { keep_bytes: 250, ..settings(folder.path()) };
    let file = |log: &str, name: &str, age: u64| {
        let path = folder.path().join(log).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, [0; 100]).unwrap();
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(SystemTime::now() - Duration::from_secs(age))
            .unwrap();
    };
    file("fl-1", "a_vpcflowlogs_.log.gz", 30);
    file("fl-2", "b_vpcflowlogs_.log.gz", 40);
    file("fl-1", "c_vpcflowlogs_.log.gz", 20);
    file("fl-2", "d_vpcflowlogs_.log.gz", 10);
    file("fl-2/deep", "an-operators.log.gz", 99);
    prune(&settings).unwrap();
    assert_eq!(
        names(folder.path()),
        ["an-operators.log.gz", "c_vpcflowlogs_.log.gz", "d_vpcflowlogs_.log.gz"]
    );
    prune(&Settings { folder: folder.path().join("none"), ..settings }).unwrap();
}

#[test]
fn names_hold_nothing_that_leads_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log { folder: "deep/er".into(), ..log("../fl", "vpc-1") };
    log.account = Some(Arc::from("a/b"));
    let mut files = LogFiles::new(&settings(folder.path()), &log, 0);
    write(&mut files, 1, "line\n");
    assert!(folder.path().join("deep/er").is_dir());
    assert!(rotate(&mut files, 999));
    assert!(names(folder.path())[0].starts_with("a-b_vpcflowlogs_unknown_---fl_"));
}

use super::*;

const VGW: &str = "vgw-1";

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn circuits(ids: &[&str]) -> Circuits {
    ids.iter().map(|&id| id.into()).collect()
}

fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn tell(feed: &Feed, prefix: &str, ids: Option<&[&str]>) {
    feed.tell(&VGW.into(), [(net(prefix), ids.map(circuits))]);
}

/// A follower, and what it was told.
struct Listening {
    follower: Follower,
    events: Receiver<Event>,
    routes: BTreeMap<IpNet, Circuits>,
}

impl Listening {
    fn to(host: SocketAddr, restart_time: Duration) -> Self {
        let (sender, events) = bounded(16);
        Self {
            follower: Follower::start(host, restart_time, sender).unwrap(),
            events,
            routes: BTreeMap::new(),
        }
    }

    fn hear(&mut self) -> What {
        let event = self.events.recv_timeout(Duration::from_secs(20)).expect("an event");
        assert_eq!(event.host, self.follower.host());
        if let What::Changes(gateway, changes) = &event.what {
            assert_eq!(&**gateway, VGW);
            for change in changes {
                assert_eq!(self.routes.get(&change.prefix), change.old.as_ref());
                match &change.new {
                    Some(new) => drop(self.routes.insert(change.prefix, Arc::clone(new))),
                    None => drop(self.routes.remove(&change.prefix)),
                }
            }
        }
        event.what
    }

    #[track_caller]
    fn until(&mut self, routes: usize) {
        while self.routes.len() != routes {
            self.hear();
        }
    }
}

#[test]
fn bgp_1_a_follower_hears_everything_and_then_changes() {
    let feed = Feed::start(local()).unwrap();
    tell(&feed, "10.0.0.0/8", Some(&["c-1", "c-2"]));
    tell(&feed, "2001:db8::/32", Some(&[]));
    let mut follower = Listening::to(feed.address(), Duration::from_secs(60));
    assert_eq!(follower.hear(), What::Up);
    follower.until(2);
    assert_eq!(follower.routes[&net("10.0.0.0/8")], circuits(&["c-1", "c-2"]));
    assert_eq!(follower.routes[&net("2001:db8::/32")], circuits(&[]), "a blackhole");
    tell(&feed, "172.16.0.0/12", Some(&["c-1"]));
    follower.until(3);
    tell(&feed, "10.0.0.0/8", None);
    let begin = Instant::now();
    follower.until(2);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(!follower.routes.contains_key(&net("10.0.0.0/8")));
}

#[test]
fn what_a_host_told_outlives_it_for_the_restart_time() {
    let feed = Feed::start(local()).unwrap();
    let address = feed.address();
    tell(&feed, "10.0.0.0/8", Some(&["c-1"]));
    tell(&feed, "172.16.0.0/12", Some(&["c-1"]));
    let mut follower = Listening::to(address, Duration::from_secs(2));
    follower.until(2);
    drop(feed);
    while !matches!(follower.hear(), What::Down(_)) {}
    assert_eq!(follower.routes.len(), 2, "kept");
    // The address may be in use for a moment.
    let feed = (0..100)
        .find_map(|_| Feed::start(address).map_err(|_| thread::sleep(Duration::from_millis(50))).ok())
        .unwrap();
    tell(&feed, "10.0.0.0/8", Some(&["c-1"]));
    follower.until(1);
    assert!(follower.routes.contains_key(&net("10.0.0.0/8")), "told again");
    drop(feed);
    follower.until(0);
}

#[test]
fn what_is_no_feed_is_said_to_be_none() {
    let listener = TcpListener::bind(local()).unwrap();
    let mut follower = Listening::to(listener.local_addr().unwrap(), Duration::from_secs(60));
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"220 mail.example.com\n").unwrap();
    let down = loop {
        if let What::Down(why) = follower.hear() {
            break why;
        }
    };
    assert!(down.contains("not a line of a feed"), "{down}");
}

#[test]
fn lines_are_short_json() {
    let line = Line::Route { gateway: VGW.into(), prefix: net("10.0.0.0/8"), circuits: circuits(&["c-1"]) };
    assert_eq!(
        &*line.text(),
        "{\"route\":{\"gateway\":\"vgw-1\",\"prefix\":\"10.0.0.0/8\",\"circuits\":[\"c-1\"]}}\n"
    );
}

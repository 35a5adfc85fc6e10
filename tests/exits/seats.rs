//! Who serves which share of a gateway's flows.

use warren::{
    compile::Compiler,
    model::{Edge, Host, Id, Model},
    tables::{Gateway, SHARES, Seat, Tables},
};

use crate::world::{Known, model, site};

/// The base model with a NAT gateway served by so many hosts: host-a and others.
fn served_by(count: usize) -> Model {
    let mut model = model();
    let mut hosts: Vec<Id> = vec!["host-a".into()];
    for number in 1..count {
        let id: Id = format!("edge-{number}").into();
        let underlay = [192, 0, 2, 100 + number as u8].into();
        model.hosts.insert(id.clone(), Host { id: id.clone(), underlay });
        hosts.push(id);
    }
    model.edges.insert("nat-v".into(), Edge { gateway: "nat-v".into(), hosts });
    model
}

fn gateway<'t>(tables: &'t Tables, id: &str) -> &'t Gateway {
    tables.exits.gateways.iter().find(|gateway| &*gateway.id == id).expect("a gateway")
}

/// The hosts by share, by underlay address.
fn seats(model: &Model) -> Vec<String> {
    let tables = Compiler::new(site()).build(model, &Known);
    let name = |seat: &Seat| match seat {
        Seat::Host(index) => format!("{:?}", tables.hosts.get(*index).expect("a host").template),
        other => format!("{other:?}"),
    };
    gateway(&tables, "nat-v").seats.iter().map(name).collect()
}

#[test]
fn when_a_host_goes_only_its_shares_move() {
    for count in 2..9 {
        let full = served_by(count);
        let before = seats(&full);
        for gone in 0..count {
            let mut less = full.clone();
            let id = less.edges.get_mut("nat-v").unwrap().hosts.remove(gone);
            // Whether the host itself is gone or only no longer serves.
            if gone % 2 == 1 {
                less.hosts.remove(&id);
            }
            let after = seats(&less);
            let moved: Vec<_> = before.iter().zip(&after).filter(|(old, new)| old != new).collect();
            let mut lost: Vec<_> = moved.iter().map(|(old, _)| *old).collect();
            lost.sort();
            lost.dedup();
            assert!(lost.len() <= 1, "{count} hosts without {id}: shares of {lost:?} moved");
            assert!(lost.iter().all(|host| !after.contains(host)));
        }
    }
}

/// With 64 shares and rendezvous hashing a host has 64 / n on average, with a deviation of about the root of that.
#[test]
fn shares_are_balanced() {
    for count in 2..9 {
        let seats = seats(&served_by(count));
        let mut hosts = seats.clone();
        hosts.sort();
        hosts.dedup();
        assert_eq!(hosts.len(), count, "each of {count} hosts has a share");
        let fair = SHARES / count;
        for host in hosts {
            let has = seats.iter().filter(|seat| **seat == host).count();
            assert!((fair / 3..=fair * 2).contains(&has), "{has} of {SHARES} shares among {count} hosts");
        }
    }
}

#[test]
fn without_hosts_nobody_serves() {
    let mut model = model();
    model.edges.remove("nat-v");
    assert!(seats(&model).iter().all(|seat| seat == "Nobody"));
}

#[test]
fn every_host_finds_the_same_owner() {
    let model = served_by(4);
    let here = Compiler::new(site()).build(&model, &Known);
    let mine = gateway(&here, "nat-v").seats.map(|seat| seat == Seat::Here);
    let elsewhere = warren::compile::Site { host: "edge-1".into(), ..site() };
    let there = Compiler::new(elsewhere).build(&model, &Known);
    let theirs = gateway(&there, "nat-v").seats.map(|seat| seat == Seat::Here);
    assert!(mine.iter().zip(&theirs).all(|(mine, theirs)| !(mine & theirs)), "a share with two owners");
    assert!(gateway(&here, "nat-v").served_here && gateway(&there, "nat-v").served_here);
}

/// A number is never another gateway's, also after the gateway has gone and come back.
#[test]
fn numbers_are_used_once() {
    let with = model();
    let mut without = with.clone();
    without.nat_gateways.remove("nat-v");
    let mut compiler = Compiler::new(site());
    let diff = |a: &Model, b: &Model| warren::model::diff(a, b);
    let first = compiler.build(&with, &Known);
    let second = compiler.update(&first, &with, &without, &diff(&with, &without), &Known);
    let third = compiler.update(&second, &without, &with, &diff(&without, &with), &Known);
    let (old, new) = (gateway(&first, "nat-v").number, gateway(&third, "nat-v").number);
    assert!(first.exits.gateways.iter().all(|gateway| gateway.number != new), "{old} {new}");
    // The others keep theirs, and their place.
    for (index, gateway) in first.exits.gateways.iter().enumerate().filter(|(_, it)| &*it.id != "nat-v") {
        assert_eq!(third.exits.gateways[index].id, gateway.id);
        assert_eq!(third.exits.gateways[index].number, gateway.number);
    }
}

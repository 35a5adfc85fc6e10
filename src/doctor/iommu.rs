//! The IOMMU and vfio, for cards that are taken from the kernel.

use std::{collections::BTreeSet, os::unix::fs::MetadataExt};

use super::{Finding, Patient, devices::BIFURCATED, rights::Rights};
use crate::machine::{Machine, pci_address};

pub(super) fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let machine = patient.machine;
    let bifurcated = |address: &String| {
        machine.driver(address).is_some_and(|driver| BIFURCATED.contains(&driver.as_str()))
    };
    let cards: BTreeSet<String> = patient
        .ports()
        .filter_map(|port| pci_address(&port.device))
        .filter(|card| !bifurcated(card))
        .collect();
    let mut findings = vec![iommu(machine, !cards.is_empty())];
    if cards.is_empty() {
        return findings;
    }
    if !machine.has("/sys/bus/pci/drivers/vfio-pci") {
        let why = "cards that are taken from the kernel are bound to it";
        findings.push(Finding::error("vfio", "vfio-pci is not loaded", why, "modprobe vfio-pci"));
    }
    findings.extend(cards.iter().flat_map(|card| group(machine, card)));
    findings
}

/// Whether the IOMMU is on. It matters only for cards that `needed` says are there.
fn iommu(machine: &Machine, needed: bool) -> Finding {
    const SUBJECT: &str = "IOMMU";
    let unsafely = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
    if !machine.names("/sys/kernel/iommu_groups").is_empty() {
        return Finding::ok(SUBJECT, "on");
    }
    if !needed {
        let why = "cards that are bound to vfio-pci need it; other devices do not";
        return Finding::note(SUBJECT, "off, or not shown", why);
    }
    if machine.text(unsafely).as_deref() == Some("Y") {
        let why = "a card can write anywhere in memory, and /dev/vfio/noiommu-* is for root only";
        return Finding::note(SUBJECT, "off, and vfio does without", why);
    }
    Finding::error(
        SUBJECT,
        "off",
        "vfio-pci gives a card to a program only behind it",
        format!(
            "switch VT-d or AMD-Vi on in the firmware, and put intel_iommu=on iommu=pt (AMD: iommu=pt) on the kernel's command line\nwithout one, as in many virtual machines: modprobe vfio; echo 1 > {unsafely}"
        ),
    )
}

/// The group in which the IOMMU holds a card: this process may open it, and all of it is out of the kernel's hands.
fn group(machine: &Machine, card: &str) -> Vec<Finding> {
    const SUBJECT: &str = "IOMMU group";
    let Some(group) = machine.link(machine.pci(card, "iommu_group")) else { return Vec::new() };
    let mut findings = Vec::new();
    let harmless = ["vfio-pci", "pcieport", "pci-stub"];
    for other in machine.names(format!("/sys/kernel/iommu_groups/{group}/devices")) {
        let Some(driver) = machine.driver(&other).filter(|driver| !harmless.contains(&driver.as_str()))
        else {
            continue;
        };
        if other != card {
            findings.push(Finding::error(
                SUBJECT,
                format!("{card} is in group {group} with {other}, which has the driver {driver}"),
                "a group is a program's as a whole or not at all",
                format!("driverctl set-override {other} vfio-pci\nor move the card to a slot with a group of its own"),
            ));
        }
    }
    let file = format!("/dev/vfio/{group}");
    if machine.driver(card).as_deref() == Some("vfio-pci")
        && let Ok(data) = machine.path(&file).metadata()
        && !Rights::of(machine).may_write(data.uid(), data.gid(), data.mode())
    {
        let found = format!("{file} of {card} is not this user's");
        let fix = format!("chown \"$(id -u)\" {file}\nor run as root, as the systemd unit does");
        findings.push(Finding::error(SUBJECT, found, "the card can't be opened", fix));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            SUBJECT,
            format!("{card} is in group {group}, which can be given to a program"),
        ));
    }
    findings
}

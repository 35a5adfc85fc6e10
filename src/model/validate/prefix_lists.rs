//! Prefix lists.

use hashbrown::HashSet;

use super::{Source, Validation, each, value};
use crate::model::PrefixList;

/// Most entries of a prefix list (QT-7).
const ENTRIES: u16 = 1000;

pub(super) fn prefix_lists(sources: &[Source<'_>], state: &mut Validation) {
    let Validation { model, errors, .. } = state;
    let all = each(sources, "PrefixLists", |raw| &raw.prefix_lists, |list| &list.id);
    for (item, raw) in all.filter(|(_, raw)| raw.state.in_force()) {
        let family = |text| value::one_of(text, &[("IPv4", false), ("IPv6", true)]);
        let mut ipv6 = item.optional(&raw.family, "AddressFamily", family, errors);
        let stated = item.optional(
            &raw.max_entries,
            "MaxEntries",
            |text| value::number(text, 1..=ENTRIES, "a number of entries"),
            errors,
        );
        let mut entries = Vec::with_capacity(raw.entries.items().len());
        let mut seen = HashSet::new();
        for (index, entry) in raw.entries.items().iter().enumerate() {
            let key = format!("Entries[{index}].Cidr");
            let Some(block) = item.required(&entry.cidr, &key, "10.9.0.0/16", value::cidr, errors) else {
                continue;
            };
            let six = block.addr().is_ipv6();
            if *ipv6.get_or_insert(six) != six {
                let problem = format!("{block} is of another family than the list");
                item.wrong(key, problem, "make a prefix list for each family", errors);
            } else if !seen.insert(block) {
                item.wrong(key, format!("{block} is there already"), "list a block once", errors);
            } else {
                entries.push(block);
            }
        }
        let count = raw.entries.items().len();
        let max_entries =
            stated.unwrap_or_else(|| u16::try_from(count).unwrap_or(u16::MAX).clamp(1, ENTRIES));
        if count > usize::from(max_entries) {
            let problem =
                format!("has {count} entries, but at most {max_entries} (PrefixListMaxEntriesExceeded)");
            let fix = format!("raise MaxEntries (to {ENTRIES} at most), or leave entries out");
            item.wrong("Entries", problem, fix, errors);
        }
        let id = item.new_id(&raw.id, "PrefixListId", "pl-corp", &model.prefix_lists, errors);
        if let Some(id) = id {
            let descriptive = raw.notes.descriptive();
            model.prefix_lists.insert(id.clone(), PrefixList { id, max_entries, entries, descriptive });
        }
    }
}

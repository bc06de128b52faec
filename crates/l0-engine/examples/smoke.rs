#![allow(missing_docs, clippy::all, clippy::pedantic)]
use l0_engine::json::{Documents, Options, repair};
use std::io::Read;
fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    for case in text.split("\n---\n") {
        let case = case.trim_end_matches('\n');
        match repair(
            case,
            &Options {
                documents: Documents::Longest,
                ..Options::default()
            },
        ) {
            Ok(r) => {
                let ok = serde_json::from_str::<serde::de::IgnoredAny>(&r.text).is_ok();
                println!(
                    "{} {case:?}\n    -> {}{}   {:?}",
                    if ok { "ok " } else { "BAD" },
                    r.text.replace('\n', "⏎"),
                    if r.cut { " [cut]" } else { "" },
                    r.changes
                        .iter()
                        .map(|c| format!("{}@{}", c.fix.name(), c.at))
                        .collect::<Vec<_>>()
                        .join(" ")
                );
            }
            Err(e) => println!("ERR {case:?}\n    -> {e:?}"),
        }
    }
}

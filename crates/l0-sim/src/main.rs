//! `l0-sim --seeds 10000`, `l0-sim --seed 7 --verbose`.
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let get = |name: &str| {
        args.iter()
            .position(|a| a == name)
            .and_then(|at| args.get(at + 1))
            .and_then(|v| v.parse::<u64>().ok())
    };
    if let Some(seed) = get("--seed") {
        let (lines, result) = l0_sim::World::tell(seed);
        for line in lines {
            println!("{line}");
        }
        println!("{result:?}");
        return;
    }
    let n = get("--seeds").unwrap_or(1000);
    let from = get("--from").unwrap_or(0);
    let mut tally = l0_sim::tally::Tally::default();
    let mut bad = std::collections::BTreeMap::<String, Vec<u64>>::new();
    let t = std::time::Instant::now();
    for seed in from..from + n {
        match std::panic::catch_unwind(|| l0_sim::World::play(seed)) {
            Ok(Ok(one)) => tally.add(&one),
            Ok(Err(v)) => {
                let k = format!("{:?} {}", v.promise, v.what.chars().take(60).collect::<String>());
                bad.entry(k).or_default().push(seed);
            }
            Err(_) => bad.entry("panic".into()).or_default().push(seed),
        }
    }
    println!("{tally:#?} {:?}", t.elapsed());
    let mut all: Vec<_> = bad.into_iter().collect();
    all.sort_by_key(|(_, v)| std::cmp::Reverse(v.len()));
    for (k, v) in all.iter().take(40) {
        println!("{} {:?} {k}", v.len(), &v[..v.len().min(4)]);
    }
}

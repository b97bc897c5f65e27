//! The gate of `compare --max-slowdown` on records of a simulated machine whose truth is known.

#[path = "../../benches/latency/simulation.rs"]
mod simulation;

/// Two hundred comparisons of each sort; `cargo bench --bench latency` makes more. The seeds are
/// fixed, so this passes or fails for a reason.
#[test]
fn the_gate_raises_few_false_alarms_and_finds_a_tenth_with_sixteen_pairs() {
    let figures = simulation::all(200);
    for promised in [
        "No difference, 16 pairs in turn",
        "10 % slower, 16 pairs in turn",
    ] {
        let figure = figures.iter().find(|figure| figure.what == promised);
        let figure = figure.expect(promised);
        // At most 1 % false alarms, at least 90 % found: as measured, without room for chance.
        assert!(figure.is_accepted(0.0), "{promised}: {}", figure.slower);
        assert!(figure.limit < 0.1 && figure.kept <= 1.0);
    }
    let problems: Vec<String> = figures
        .iter()
        .filter(|figure| !figure.is_accepted(4.0))
        .map(|figure| format!("{}: {}", figure.what, figure.slower))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

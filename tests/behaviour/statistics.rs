//! The intervals and tests of a sweep on samples whose truth is known.

#[path = "../../benches/statistics/simulation.rs"]
mod simulation;

/// Few rounds, and room for chance: `cargo bench --bench statistics` runs many.
#[test]
fn intervals_cover_and_tests_err_as_promised() {
    let mut problems = Vec::new();
    for figure in simulation::all(1_500) {
        let slack = 4.0 * figure.error.max(0.002);
        let (low, high) = figure.accepted;
        if figure.share < low - slack || figure.share > high + slack {
            problems.push(format!("{}: {}", figure.what, figure.share));
        }
        assert!(!figure.promised.is_empty());
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

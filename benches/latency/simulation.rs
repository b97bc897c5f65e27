//! Makes pairs of records on a simulated machine of a CI, has the gate of `compare` judge them,
//! and counts its verdicts.
//!
//! The noise is that of shared runners, in logarithms of times: a factor of the machine with a
//! standard deviation of 8 % from job to job, a load that drifts (first-order autoregression, 3 %
//! a run, nine tenths of it are left at the next), 3 % of a run's own, and 10 % of each event in
//! it. A run is one case, answered once: a time to the first token and thirty gaps. The benchmark
//! takes many comparisons; a behaviour test takes few and holds the figures against bounds.

use loopwatch::assertion::Judgement;
use loopwatch::compare::{Gate, compare};
use loopwatch::generation::{
    Conversation, Exchange, FinishReason, SamplingSettings, TemplateVariables, Token, Transcript,
    Usage,
};
use loopwatch::record::{CaseRecord, CaseVerdict, Provenance, Record, RunRecord};

use crate::random::Random;

/// Standard deviation of the machine's factor from job to job.
const MACHINE: f64 = 0.08;
/// What the load changes by from run to run.
const DRIFT: f64 = 0.03;
/// How much of the load is left at the next run.
const KEPT: f64 = 0.9;
/// A run's own noise.
const RUN: f64 = 0.03;
/// That of each event in it.
const EVENT: f64 = 0.1;
/// Gaps between tokens in a run.
const GAPS: usize = 30;

/// How often the gate said what, in one sort of comparison.
pub(crate) struct Measured {
    /// What was compared, in one line.
    pub(crate) what: &'static str,
    /// The limit that was asked for.
    pub(crate) limit: f64,
    /// Share of comparisons that were called slower than allowed.
    pub(crate) slower: f64,
    /// Share that were called not slower than allowed.
    pub(crate) kept: f64,
    /// Between what a test accepts the share of slower ones.
    accepted: (f64, f64),
    /// The standard error of that share.
    error: f64,
}

impl Measured {
    /// Whether the share of slower ones is within its bounds, with room for so many standard
    /// errors.
    pub(crate) fn is_accepted(&self, errors: f64) -> bool {
        let (low, high) = self.accepted;
        let slack = errors * self.error;
        (low - slack..=high + slack).contains(&self.slower)
    }
}

/// In which order the runs are made.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// A B, B A, A B, …, in one job.
    InTurn,
    /// All of A, then all of B, in one job.
    OneAfterTheOther,
    /// A in one job, B in another.
    OtherJob,
}

/// A sort of comparison.
#[derive(Clone, Copy)]
struct World {
    pairs: usize,
    order: Order,
    /// How much longer B takes to the first token, and for each further one.
    slower: (f64, f64),
    /// Share of runs that something else on the machine makes half as long again.
    hiccups: f64,
}

const SAME: World = World {
    pairs: 16,
    order: Order::InTurn,
    slower: (0.0, 0.0),
    hiccups: 0.0,
};

const TENTH: World = World {
    slower: (0.1, 0.1),
    ..SAME
};

/// Every figure, over so many comparisons each.
pub(crate) fn all(rounds: usize) -> Vec<Measured> {
    let of = |pairs: usize, world: World| World { pairs, ..world };
    let hiccups = |world: World| World {
        hiccups: 0.1,
        ..world
    };
    let ordered = |order: Order| World { order, ..SAME };
    let slower = |ttft: f64, gap: f64| World {
        slower: (ttft, gap),
        ..SAME
    };
    let (any, rare) = ((0.0, 1.0), (0.0, 0.01));
    let found = (0.9, 1.0);
    let figures: [(&str, f64, World, (f64, f64)); 17] = [
        ("No difference, 16 pairs in turn", 0.02, SAME, rare),
        ("No difference, 10 pairs in turn", 0.02, of(10, SAME), rare),
        ("No difference, 7 pairs in turn", 0.02, of(7, SAME), rare),
        (
            "No difference, 16 pairs, a tenth of the runs disturbed",
            0.02,
            hiccups(SAME),
            rare,
        ),
        ("10 % slower, 16 pairs in turn", 0.02, TENTH, found),
        ("10 % slower, 10 pairs in turn", 0.02, of(10, TENTH), any),
        ("10 % slower, 7 pairs in turn", 0.02, of(7, TENTH), any),
        (
            "10 % slower, 16 pairs, a tenth of the runs disturbed",
            0.02,
            hiccups(TENTH),
            any,
        ),
        (
            "20 % slower, 10 pairs in turn",
            0.02,
            of(10, slower(0.2, 0.2)),
            found,
        ),
        (
            "10 % slower in tokens alone, 16 pairs in turn",
            0.02,
            slower(0.0, 0.1),
            any,
        ),
        (
            "10 % slower to the first token alone, 16 pairs in turn",
            0.02,
            slower(0.1, 0.0),
            any,
        ),
        ("No difference, 16 pairs in turn", 0.1, SAME, rare),
        // What the limit allows is not called slower.
        ("10 % slower, 16 pairs in turn", 0.1, TENTH, (0.0, 0.025)),
        ("20 % slower, 16 pairs in turn", 0.1, slower(0.2, 0.2), any),
        (
            "No difference, 16 pairs, one run after the other",
            0.02,
            ordered(Order::OneAfterTheOther),
            any,
        ),
        (
            "No difference, 16 pairs, one run after the other",
            0.1,
            ordered(Order::OneAfterTheOther),
            any,
        ),
        (
            "No difference, 16 pairs, runs of different jobs",
            0.1,
            ordered(Order::OtherJob),
            any,
        ),
    ];
    figures
        .into_iter()
        .enumerate()
        .map(|(at, (what, limit, world, accepted))| {
            let mut random = Random(1 + at as u64);
            let verdicts: Vec<Gate> = (0..rounds)
                .map(|_| judge(&mut random, world, limit))
                .collect();
            let share = |gate: Gate| {
                verdicts.iter().filter(|verdict| **verdict == gate).count() as f64 / rounds as f64
            };
            let slower = share(Gate::Regressed);
            Measured {
                what,
                limit,
                slower,
                kept: share(Gate::Passed),
                accepted,
                error: (slower * (1.0 - slower) / rounds as f64).sqrt(),
            }
        })
        .collect()
}

/// Runs both and compares them.
fn judge(random: &mut Random, world: World, limit: f64) -> Gate {
    let mut machine = Machine::new(random);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let a = |machine: &mut Machine<'_>, at| machine.run(at, (0.0, 0.0), world.hiccups);
    let b = |machine: &mut Machine<'_>, at| machine.run(at, world.slower, world.hiccups);
    match world.order {
        Order::InTurn => {
            for at in 0..world.pairs {
                if at % 2 == 0 {
                    before.push(a(&mut machine, at));
                    after.push(b(&mut machine, at));
                } else {
                    after.push(b(&mut machine, at));
                    before.push(a(&mut machine, at));
                }
            }
        }
        Order::OneAfterTheOther | Order::OtherJob => {
            before.extend((0..world.pairs).map(|at| a(&mut machine, at)));
            if world.order == Order::OtherJob {
                machine.change();
            }
            after.extend((0..world.pairs).map(|at| b(&mut machine, at)));
        }
    }
    let comparison = compare(&record(before), &record(after), Some(limit));
    comparison.gate.expect("a limit was given")
}

/// A machine that runs one case after the other.
struct Machine<'a> {
    random: &'a mut Random,
    factor: f64,
    load: f64,
}

impl<'a> Machine<'a> {
    fn new(random: &'a mut Random) -> Self {
        let mut machine = Self {
            random,
            factor: 0.0,
            load: 0.0,
        };
        machine.change();
        machine
    }

    /// Takes another machine, with the load that it has in the long run.
    fn change(&mut self) {
        self.factor = self.normal(MACHINE);
        self.load = self.normal(DRIFT / (1.0 - KEPT * KEPT).sqrt());
    }

    /// A normal variable with this standard deviation (Box and Muller, 1958).
    fn normal(&mut self, deviation: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.random.uniform()).ln()).sqrt();
        deviation * radius * (std::f64::consts::TAU * self.random.uniform()).cos()
    }

    /// A case, run once. Cases differ in length, and are as long in both records.
    fn run(&mut self, at: usize, slower: (f64, f64), hiccups: f64) -> CaseRecord {
        self.load = KEPT * self.load + self.normal(DRIFT);
        let mut level = self.factor + self.load + self.normal(RUN);
        if self.random.uniform() < hiccups {
            level += 1.5f64.ln();
        }
        let mut event =
            |us: f64, slower: f64| us * (level + self.normal(EVENT)).exp() * (1.0 + slower);
        let mut now = event(40_000.0 + 10_000.0 * at as f64, slower.0);
        let mut times = vec![now as u64];
        for _ in 0..GAPS {
            now += event(10_000.0, slower.1);
            times.push(now as u64);
        }
        case(at, times)
    }
}

fn case(at: usize, token_at_us: Vec<u64>) -> CaseRecord {
    let token = |id: usize| Token {
        id: id as u32,
        logprob: 0.0,
        margin: 1.0,
        top: Vec::new(),
    };
    let count = token_at_us.len();
    let transcript = Transcript {
        tokens: (0..count).map(token).collect(),
        text_ends: vec![0; count],
        pieces: Vec::new(),
        text: String::new(),
        content: None,
        reasoning: None,
        tool_calls: Vec::new(),
        finish_reason: FinishReason::Length,
        usage: Usage {
            input_tokens: 100,
            cached_tokens: 0,
            output_tokens: count,
        },
        // The end of the answer comes after its last token.
        e2e_us: token_at_us.last().copied().unwrap_or_default() + 100,
        token_at_us,
        retries: Vec::new(),
        stream: None,
    };
    CaseRecord {
        id: format!("simulated/{at}"),
        index: at,
        scenario: "simulated.yaml".to_owned(),
        scenario_line: 1 + at,
        description: String::new(),
        why: String::new(),
        model: "simulated".to_owned(),
        target: None,
        template: TemplateVariables::default(),
        assertions: Vec::new(),
        verdict: CaseVerdict::Passed,
        run: RunRecord {
            sampling: SamplingSettings::default().resolve().expect("defaults"),
            conversation: Conversation {
                exchanges: vec![Exchange {
                    added: Vec::new(),
                    transcript,
                    tool_results: Vec::new(),
                }],
            },
            judgement: Judgement::default(),
            reruns: Vec::new(),
            error: None,
        },
        repeats: None,
        control: None,
        quarantine: None,
    }
}

fn record(cases: Vec<CaseRecord>) -> Record {
    Record {
        provenance: Provenance {
            format: 0,
            tool: String::new(),
            command: Vec::new(),
            started_at: String::new(),
            platform: String::new(),
            processor: String::new(),
            threads: 1,
            jobs: 1,
            overrides: Vec::new(),
            environment: Vec::new(),
            models: Vec::new(),
            plan: None,
        },
        cases,
        summary: None,
        truncated: false,
    }
}

//! What the search for leaks comes to.

use crate::analysis::Site;
use crate::analysis::growth::Judgement;
use std::fmt;

use crate::profile::{NO_STACK, Place, is_of_a_dependency};

/// What grows without bound over a history of snapshots, and what was let go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaks {
    /// What grows without bound, by the growth that is certain, largest first.
    pub suspects: Vec<Suspect>,
    /// Functions in which it grows and that are not among `suspects`, as there are too many.
    pub suspects_left_out: usize,
    /// Sites that rose and were not judged, as more rose more.
    pub not_judged: usize,
    /// What rose and is not accused, largest rise first; twenty at most.
    pub let_go: Vec<LetGo>,
    /// All that is not part of a suspect, taken together.
    pub together: Judgement,
    /// Whether that grows without bound, also where no site can be named for it.
    pub together_grows: bool,
    /// How many sites there are.
    pub sites: usize,
    /// How many snapshots were looked at.
    pub snapshots: usize,
    /// The time that they span.
    pub seconds: f64,
}

impl Leaks {
    /// What all suspects that have a rate grow by a second. Parts of one site that are judged as the whole site count once.
    pub(crate) fn bytes_per_second(&self) -> Option<f64> {
        let mut judged: Vec<&Judgement> = Vec::new();
        for suspect in &self.suspects {
            if !judged.contains(&&suspect.judgement) {
                judged.push(&suspect.judgement);
            }
        }
        let rates = judged.iter().filter_map(|judgement| judgement.rate).filter(|rate| rate.low > 0.0);
        rates.map(|rate| rate.estimate).reduce(|sum, rate| sum + rate)
    }
}

/// Where memory grows without bound.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Suspect {
    /// Where the growth comes together.
    pub site: Site,
    /// Where that is a dependency's: the function of the program that leads there.
    pub called_from: Option<Site>,
    /// The stack that grew most, from its own site to the root.
    pub stack: Vec<Site>,
    /// The share of the growth that this stack carries.
    pub stack_share: f64,
    /// How many stacks there are.
    pub stacks: usize,
    /// The evidence.
    pub judgement: Judgement,
}

impl Suspect {
    /// The stack for people, leaf first: of neighbours that are a dependency's, the first alone.
    pub(crate) fn stack_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for frames in self.stack.chunk_by(|a, b| is_of_a_dependency(&a.file) == is_of_a_dependency(&b.file)) {
            match frames {
                [first, hidden @ ..] if is_of_a_dependency(&first.file) && hidden.len() > 1 => {
                    lines.push(first.to_string());
                    lines.push(format!("… {} more frames of dependencies", hidden.len()));
                }
                all => lines.extend(all.iter().map(Site::to_string)),
            }
        }
        lines
    }
}

/// A site that rose and is not accused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LetGo {
    /// The site.
    pub site: Site,
    /// The most by which it was ever higher than before, in bytes.
    pub rise: f64,
    /// Why.
    pub judgement: Judgement,
}

impl Site {
    /// Of a frame; none stands for a stack without frames.
    pub(crate) fn of(place: Option<Place<'_>>) -> Self {
        let Some(place) = place else {
            return Self { function: NO_STACK.to_owned(), file: String::new(), line: 0 };
        };
        let (file, line) = place.function.map_or(("", 0), |function| (&*function.file, function.line));
        Self { function: place.name().into_owned(), file: file.to_owned(), line }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.function)?;
        if self.file.is_empty() { Ok(()) } else { write!(f, " {}:{}", self.file, self.line) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::growth::judge;

    #[test]
    fn frames_of_dependencies_are_folded() {
        let site = |function: &str, file: &str| Site { function: function.into(), file: file.into(), line: 3 };
        let dependency = |name: &str| site(name, "/home/registry/src/warp.rs");
        let stack = vec![
            site("s::open", "src/a.rs"),
            dependency("warp::call"),
            site("s::serve", "src/b.rs"),
            dependency("tokio::poll"),
            dependency("tokio::run"),
            dependency("tokio::start"),
            site("start_thread", ""),
        ];
        let judgement = judge(
            &crate::analysis::Series { seconds: Vec::new(), points: Vec::new() },
            crate::profile::SampleInterval::from_lg(0).unwrap(),
        );
        let suspect =
            Suspect { site: stack[0].clone(), called_from: None, stack, stack_share: 1.0, stacks: 1, judgement };
        let expect = [
            "s::open src/a.rs:3",
            "warp::call /home/registry/src/warp.rs:3",
            "s::serve src/b.rs:3",
            "tokio::poll /home/registry/src/warp.rs:3",
            "… 2 more frames of dependencies",
            "start_thread",
        ];
        assert_eq!(suspect.stack_lines(), expect);
    }
}

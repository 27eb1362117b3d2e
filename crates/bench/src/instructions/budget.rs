//! The file of budgets: a line for each case and stage, with instructions a request.

use crate::Result;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How much more than its budget a stage may take, in percent. Timers that fire or not, and other compilers, move it by a
/// few.
const TOLERANCE: u64 = 10;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Budget(BTreeMap<(String, String), u64>);

impl Budget {
    pub fn read(text: &str) -> Result<Self> {
        let mut budget = Self::default();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let parts: Vec<&str> = line.split_ascii_whitespace().collect();
            let [case, stage, count] = parts[..] else {
                return Err(format!("{line:?} is not `case stage instructions`").into());
            };
            let count = count.replace(',', "").parse()?;
            budget.note(case, stage, count);
        }
        Ok(budget)
    }

    pub fn note(&mut self, case: &str, stage: &str, count: u64) {
        self.0.insert((case.to_owned(), stage.to_owned()), count);
    }

    /// What was counted, beside what was allowed, and whether all of it is within that.
    pub fn compare(&self, counted: &Self) -> (String, bool) {
        let mut table = String::new();
        let mut fits = true;
        for ((case, stage), count) in &counted.0 {
            let allowed = self.0.get(&(case.clone(), stage.clone()));
            let is_over =
                allowed.is_none_or(|allowed| *count > allowed + allowed * TOLERANCE / 100);
            fits &= !is_over;
            let allowed = allowed.map_or("none".to_owned(), u64::to_string);
            let verdict = if is_over { "  OVER" } else { "" };
            let _ = writeln!(
                table,
                "{case:8} {stage:10} {count:>10} instructions a request, budget {allowed:>10}{verdict}"
            );
        }
        (table, fits)
    }

    pub fn lines(&self) -> String {
        let line =
            |((case, stage), count): (&(String, String), &u64)| format!("{case} {stage} {count}\n");
        self.0.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    fn budget(text: &str) -> Budget {
        Budget::read(text).unwrap()
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let read = budget("# why\n\nplain request 1000\n32k request 20\n");
        assert_eq!(read.lines(), "32k request 20\nplain request 1000\n");
        assert_eq!(budget(&read.lines()), read);
        assert!(Budget::read("plain 1000").is_err() && Budget::read("plain request many").is_err());
    }

    #[test]
    fn a_tenth_more_passes_and_a_stage_without_budget_does_not() {
        let allowed = budget("plain request 1000");
        assert!(allowed.compare(&budget("plain request 1100")).1);
        assert!(allowed.compare(&budget("plain request 1")).1);
        let (table, fits) = allowed.compare(&budget("plain request 1101"));
        assert!(!fits && table.contains("OVER"), "{table}");
        assert!(!allowed.compare(&budget("plain other 1")).1);
    }
}

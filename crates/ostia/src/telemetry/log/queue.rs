use std::io::{ErrorKind, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::LOST;

/// Bytes that may wait for a slow reader of the log.
const MOST: usize = 4 << 20;
/// A buffer that grew beyond this gives its memory back.
const KEPT: usize = 64 << 10;
/// Lines within this time are written together: otherwise a busy gateway would wake the thread for each of them.
const GATHER: Duration = Duration::from_millis(5);
/// How long to pause when the reader cannot take more.
const FULL: Duration = Duration::from_millis(10);
/// How long the end of the process waits for the last lines.
const LAST: Duration = Duration::from_secs(2);

/// Lines on their way to the thread that writes them. Pushing copies bytes under a lock and never waits for the writer.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// For the writer: there are lines, or the queue was closed.
    filled: Condvar,
    /// For the shutdown: the writer is done.
    finished: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    lost: u64,
    writer_idle: bool,
    closing: bool,
    done: bool,
}

impl Queue {
    /// A whole line with its end. Lines that do not fit are counted.
    pub fn push(&self, line: &str) {
        let mut state = self.state.lock();
        if state.closing || state.waiting.len() + line.len() > MOST {
            state.lost += 1;
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        let wake = std::mem::take(&mut state.writer_idle);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
    }

    /// Accepts no more lines; queued ones are still written.
    pub fn end(&self) {
        self.state.lock().closing = true;
        self.filled.notify_one();
    }

    /// Closes it, and waits for the writer, but not forever.
    pub fn close(&self) {
        self.end();
        let mut state = self.state.lock();
        let unfinished = |state: &mut State| !state.done;
        self.finished.wait_while_for(&mut state, unfinished, LAST);
    }

    /// Writes until the queue is closed. Errors of `out` lose lines and nothing else.
    pub fn write_to(&self, out: &mut dyn Write) {
        let mut sink = Sink { out, torn: false };
        let mut taken = Vec::new();
        let mut unreported = 0;
        while let Some(lost) = self.take(&mut taken) {
            unreported += lost;
            let unwritten = sink.write_lines(&taken);
            LOST.fetch_add(unwritten, Ordering::Relaxed);
            unreported += unwritten;
            // Reported once writing works again: a line about each failure would fail too.
            if unwritten == 0 && unreported > 0 {
                tracing::warn!(lines = unreported, "lines of this log were lost");
                unreported = 0;
            }
            taken.clear();
            taken.shrink_to(KEPT);
        }
        self.state.lock().done = true;
        self.finished.notify_all();
    }

    /// Waits for lines and takes them all; returns how many were dropped meanwhile. `None`: closed, and all is written.
    fn take(&self, taken: &mut Vec<u8>) -> Option<u64> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && !state.closing {
            state.writer_idle = true;
            self.filled.wait(&mut state);
        }
        state.writer_idle = false;
        if !state.closing {
            // Only the shutdown wakes it now.
            self.filled.wait_for(&mut state, GATHER);
        }
        if state.waiting.is_empty() {
            return None;
        }
        std::mem::swap(taken, &mut state.waiting);
        Some(std::mem::take(&mut state.lost))
    }
}

struct Sink<'a> {
    out: &'a mut dyn Write,
    /// The last line was cut off: the next must not continue it.
    torn: bool,
}

impl Sink<'_> {
    /// Gives how many lines were not written whole.
    fn write_lines(&mut self, lines: &[u8]) -> u64 {
        if self.torn && self.write(b"\n") == 0 {
            return count(lines);
        }
        self.torn = false;
        let written = self.write(lines);
        let (done, rest) = lines.split_at(written);
        self.torn = done.last().is_some_and(|last| *last != b'\n');
        count(rest)
    }

    /// Gives how many bytes were written.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) => return written,
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(FULL),
                Err(_) => return written,
            }
        }
        written
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{MOST, Queue, Sink};

    /// Takes what `script` says, call by call: so many bytes, or an error.
    struct Scripted {
        script: Vec<Result<usize, io::ErrorKind>>,
        written: Vec<u8>,
    }

    impl io::Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = match self.script.is_empty() {
                true => bytes.len(),
                false => self.script.remove(0)?,
            };
            let taken = most.min(bytes.len());
            self.written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn scripted(script: Vec<Result<usize, io::ErrorKind>>) -> Scripted {
        Scripted {
            script,
            written: Vec::new(),
        }
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_the_rest_is_written() {
        let queue = Queue::default();
        let line = format!("{}\n", "x".repeat(MOST / 4 - 1));
        for _ in 0..6 {
            queue.push(&line);
        }
        queue.end();
        let mut out = Vec::new();
        queue.write_to(&mut out);
        assert_eq!(out.len(), MOST);
    }

    #[test]
    fn interruptions_and_full_pipes_lose_nothing() {
        let mut out = scripted(vec![
            Err(io::ErrorKind::Interrupted),
            Ok(2),
            Err(io::ErrorKind::WouldBlock),
            Ok(1),
        ]);
        let queue = Queue::default();
        queue.push("one\n");
        queue.push("two\n");
        queue.end();
        queue.write_to(&mut out);
        assert_eq!(out.written, b"one\ntwo\n");
    }

    #[test]
    fn a_line_after_a_broken_one_is_whole() {
        let full = io::ErrorKind::StorageFull;
        let mut out = scripted(vec![Ok(5), Err(full), Err(full)]);
        let mut sink = Sink {
            out: &mut out,
            torn: false,
        };
        assert_eq!(sink.write_lines(b"one\ntwo\nthree\n"), 2);
        assert_eq!(sink.write_lines(b"four\n"), 1);
        assert_eq!(sink.write_lines(b"five\n"), 0);
        assert_eq!(out.written, b"one\nt\nfive\n");
    }

    #[test]
    fn a_closed_pipe_ends_in_nothing_but_lost_lines() {
        let mut out = scripted(vec![Err(io::ErrorKind::BrokenPipe)]);
        let queue = Queue::default();
        queue.push("one\n");
        queue.end();
        queue.write_to(&mut out);
        queue.push("too late\n");
        queue.close();
        assert_eq!(out.written, b"");
    }

    #[test]
    fn the_end_waits_for_the_writer() {
        let queue = std::sync::Arc::new(Queue::default());
        let writer = std::sync::Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            let mut out = Vec::new();
            writer.write_to(&mut out);
            out
        });
        queue.push("one\n");
        queue.close();
        assert_eq!(thread.join().unwrap(), b"one\n");
    }
}

//! Work on many things by some threads at a time, for starts: their reads and syncs overlap.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Threads at a time.
const THREADS: usize = 4;

/// Works on the things `0..count`, each once. After an error its thread takes no further one; the
/// error is returned when all have ended.
pub(crate) fn side_by_side<E: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let taken = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        taken
            .take_while(|number| *number < count)
            .try_for_each(&work)
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn each_thing_is_worked_on_once_and_an_error_comes_back() {
        let done = Mutex::new(Vec::new());
        let work = |number| {
            done.lock().unwrap().push(number);
            if number == 7 { Err(number) } else { Ok(()) }
        };
        assert_eq!(side_by_side(100, work), Err(7));
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
        assert_eq!(side_by_side(0, Err), Ok(()));
    }
}

use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask,
};

/// Keys and prompts are in this process's memory: no core file, and no other process of the same user may look into it.
/// If the system refuses, the process runs without this.
pub fn keep_memory_private() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// What this process makes is for its owner alone, whatever the umask was: files, folders and sockets may hold secrets, or
/// lead to them.
pub fn keep_files_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

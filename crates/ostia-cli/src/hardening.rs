use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask,
};

/// This process's memory holds keys and prompts, so it leaves no core file, and no other process of the same user may
/// read it. If the system refuses, the process runs without this protection.
pub fn keep_memory_private() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Files, folders and sockets that this process makes are for its owner only, whatever the umask was, because they may
/// hold secrets or lead to some.
pub fn keep_files_private() {
    umask(Mode::RWXG | Mode::RWXO);
}

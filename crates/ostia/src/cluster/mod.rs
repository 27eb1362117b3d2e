//! In: what schedulers and status pages say. Out: jobs of a cluster, model states for `fleet`.
//! Here: one file per source, and the cache before them. Not here: principals: what is cached is shared.

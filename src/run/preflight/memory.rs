//! How much memory there is for Terraform and its providers.

/// Below this a limit would only make them slow, in bytes.
const LEAST: u64 = 256 * 1024 * 1024;

/// What each Terraform and each provider may use, if so many deployments run at once; `None` where that is little or not
/// known.
///
/// A deployment is Terraform and, mostly, one large provider; a third part is left for everything else.
pub(super) fn each(workers: usize) -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    share(&meminfo, group.as_deref(), workers)
}

fn share(meminfo: &str, group: Option<&str>, workers: usize) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
    // A container may have less than its machine; `max` is no number, and no limit.
    let allowed = group.and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX);
    let share = available.min(allowed) / (3 * u64::try_from(workers).ok()?.max(1));
    (share >= LEAST).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_machine_and_container_is_shared() {
        let meminfo = "MemTotal:       16000000 kB\nMemAvailable:   12582912 kB\n";
        assert_eq!(share(meminfo, None, 4), Some(1 << 30));
        assert_eq!(share(meminfo, Some("max\n"), 4), Some(1 << 30));
        assert_eq!(share(meminfo, Some("6442450944\n"), 4), Some(1 << 29));
        assert_eq!(share(meminfo, Some("1073741824\n"), 4), None, "too little to gain anything");
        assert_eq!(share("nothing", None, 4), None);
    }
}

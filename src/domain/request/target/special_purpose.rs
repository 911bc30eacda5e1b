//! Special-purpose IP addresses: those not on the public internet.
//!
//! The tables are IANA's IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and RFC 8190), column
//! "Globally Reachable"; the longest matching prefix decides. Sources:
//! <https://www.iana.org/assignments/iana-ipv4-special-registry/> and
//! <https://www.iana.org/assignments/iana-ipv6-special-registry/>. Entries marked as not applicable (Teredo,
//! 6to4) or terminated count as not reachable. Added are multicast (RFC 5771, RFC 4291) and all of IPv6
//! outside `2000::/3`, the only block from which global addresses are allocated.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Address, prefix length, globally reachable.
const IPV4: [(Ipv4Addr, u32, bool); 22] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, false), // "this network", RFC 791
    (Ipv4Addr::new(10, 0, 0, 0), 8, false), // private use, RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10, false), // shared address space, RFC 6598
    (Ipv4Addr::new(127, 0, 0, 0), 8, false), // loopback, RFC 1122
    (Ipv4Addr::new(169, 254, 0, 0), 16, false), // link local, RFC 3927
    (Ipv4Addr::new(172, 16, 0, 0), 12, false), // private use, RFC 1918
    (Ipv4Addr::new(192, 0, 0, 0), 24, false), // protocol assignments, RFC 6890
    (Ipv4Addr::new(192, 0, 0, 9), 32, true), // port control anycast, RFC 7723
    (Ipv4Addr::new(192, 0, 0, 10), 32, true), // TURN anycast, RFC 8155
    (Ipv4Addr::new(192, 0, 2, 0), 24, false), // documentation, RFC 5737
    (Ipv4Addr::new(192, 31, 196, 0), 24, true), // AS112, RFC 7535
    (Ipv4Addr::new(192, 52, 193, 0), 24, true), // AMT, RFC 7450
    (Ipv4Addr::new(192, 88, 99, 0), 24, false), // 6to4 relays, ended by RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16, false), // private use, RFC 1918
    (Ipv4Addr::new(192, 175, 48, 0), 24, true), // AS112, RFC 7534
    (Ipv4Addr::new(198, 18, 0, 0), 15, false), // benchmarking, RFC 2544
    (Ipv4Addr::new(198, 51, 100, 0), 24, false), // documentation, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24, false), // documentation, RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 4, false), // multicast, RFC 5771
    (Ipv4Addr::new(240, 0, 0, 0), 4, false), // reserved, RFC 1112
    (Ipv4Addr::new(255, 255, 255, 255), 32, false), // broadcast, RFC 919
    (Ipv4Addr::UNSPECIFIED, 32, false),    // "this host", RFC 1122
];

const fn v6(a: u16, b: u16, c: u16, h: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, h)
}

/// Blocks within `2000::/3`; nothing else is reachable.
const IPV6: [(Ipv6Addr, u32, bool); 14] = [
    (v6(0x2001, 0, 0, 0), 23, false), // protocol assignments, RFC 2928
    (v6(0x2001, 0, 0, 0), 32, false), // Teredo, RFC 4380
    (v6(0x2001, 1, 0, 1), 128, true), // port control anycast, RFC 7723
    (v6(0x2001, 1, 0, 2), 128, true), // TURN anycast, RFC 8155
    (v6(0x2001, 1, 0, 3), 128, true), // DNS-SD SRP anycast, RFC 9665
    (v6(0x2001, 2, 0, 0), 48, false), // benchmarking, RFC 5180
    (v6(0x2001, 3, 0, 0), 32, true),  // AMT, RFC 7450
    (v6(0x2001, 4, 0x112, 0), 48, true), // AS112, RFC 7535
    (v6(0x2001, 0x20, 0, 0), 28, true), // ORCHIDv2, RFC 7343
    (v6(0x2001, 0x30, 0, 0), 28, true), // drone remote ID, RFC 9374
    (v6(0x2001, 0xdb8, 0, 0), 32, false), // documentation, RFC 3849
    (v6(0x2002, 0, 0, 0), 16, false), // 6to4, RFC 3056
    (v6(0x2620, 0x4f, 0x8000, 0), 48, true), // AS112, RFC 7534
    (v6(0x3fff, 0, 0, 0), 20, false), // documentation, RFC 9637
];

/// NAT64 (RFC 6052): leads to the IPv4 address in its last 32 bits.
const NAT64: Ipv6Addr = v6(0x64, 0xff9b, 0, 0);
/// The block of globally allocated addresses.
const GLOBAL_UNICAST: Ipv6Addr = v6(0x2000, 0, 0, 0);

/// Blocks whose addresses hold an IPv4 address in their last 32 bits: IPv4-mapped (RFC 4291), translated (SIIT, RFC
/// 2765), NAT64 (RFC 6052) and NAT64 of a local network (RFC 8215).
const ENDING_IN_IPV4: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96),
    (NAT64, 96),
    (v6(0x64, 0xff9b, 1, 0), 48),
];
/// 6to4 (RFC 3056): the IPv4 address follows the first 16 bits.
const SIX_TO_FOUR: Ipv6Addr = v6(0x2002, 0, 0, 0);
/// Teredo (RFC 4380): the last 32 bits are those of the IPv4 address, inverted.
const TEREDO: Ipv6Addr = v6(0x2001, 0, 0, 0);

/// The address that packets to an address arrive at in the end: the IPv4 address that an IPv6 address holds.
pub(super) fn led_to(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => held_ipv4(v6).map_or(address, IpAddr::V4),
    }
}

fn held_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, first, second, .., before, flags, sixth, seventh] = address.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    let last = of(sixth, seventh);
    // IPv4-compatible (RFC 4291). `::` and `::1` are none, nor is what looks like them.
    let is_compatible = address.to_bits() >> 32 == 0 && sixth != 0;
    // ISATAP (RFC 5214).
    let is_isatap = flags == 0x5efe && [0, 0x200].contains(&before);
    let ends = |(block, length): &(Ipv6Addr, u32)| is_in_v6(address, *block, *length);
    if is_compatible || is_isatap || ENDING_IN_IPV4.iter().any(ends) {
        return Some(last);
    }
    if is_in_v6(address, SIX_TO_FOUR, 16) {
        return Some(of(first, second));
    }
    is_in_v6(address, TEREDO, 32).then(|| of(!sixth, !seventh))
}

/// Whether an address is on the public internet. If it holds an IPv4 address, that one has to be too: it is where packets
/// arrive. A mapped or NAT64 address is nothing but the one it holds.
pub(super) fn is_open(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_open_v4(v4),
        IpAddr::V6(v6) => {
            let stands_for_ipv4 = v6.to_ipv4_mapped().is_some() || is_in_v6(v6, NAT64, 96);
            (stands_for_ipv4 || is_open_v6(v6)) && held_ipv4(v6).is_none_or(is_open_v4)
        }
    }
}

fn is_open_v4(address: Ipv4Addr) -> bool {
    by_table(&IPV4, |block, length| is_in_v4(address, block, length)).unwrap_or(true)
}

fn is_open_v6(address: Ipv6Addr) -> bool {
    is_in_v6(address, GLOBAL_UNICAST, 3)
        && by_table(&IPV6, |block, length| is_in_v6(address, block, length)).unwrap_or(true)
}

/// The entry of the longest matching prefix.
fn by_table<A: Copy>(table: &[(A, u32, bool)], is_in: impl Fn(A, u32) -> bool) -> Option<bool> {
    let matching = table
        .iter()
        .filter(|(block, length, _)| is_in(*block, *length));
    matching
        .max_by_key(|(_, length, _)| *length)
        .map(|(.., is_open)| *is_open)
}

fn is_in_v4(address: Ipv4Addr, block: Ipv4Addr, length: u32) -> bool {
    (address.to_bits() ^ block.to_bits()).leading_zeros() >= length
}

fn is_in_v6(address: Ipv6Addr, block: Ipv6Addr, length: u32) -> bool {
    (address.to_bits() ^ block.to_bits()).leading_zeros() >= length
}

//! The paths of packets that leave, as AWS numbers them in `traffic-path` (FL-10).

/// None of the others.
pub const OTHER: u8 = 0;
/// Through another resource of the VPC, such as an ENI or a NAT gateway.
pub const SAME_VPC: u8 = 1;
/// Through an internet gateway or a gateway endpoint.
pub const INTERNET: u8 = 2;
/// Through a virtual private gateway.
pub const PRIVATE_GATEWAY: u8 = 3;
/// Through a peering inside the region.
pub const PEERING: u8 = 4;

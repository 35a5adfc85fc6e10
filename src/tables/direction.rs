/// Which way a packet goes, as its ENI sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    /// To the ENI.
    Ingress,
    /// From the ENI.
    Egress,
}

impl Direction {
    /// The other way.
    #[inline]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

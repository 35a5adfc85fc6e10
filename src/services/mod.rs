//! What the node answers itself: ARP and neighbour discovery.

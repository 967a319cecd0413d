// Package canary is the web service that receives a rehearsal's traffic. Each
// answer says who gave it, and carries a checksum of its body, so that a client
// can tell a whole answer from a cut or a foreign one. It speaks HTTP/1.1 and,
// to clients that begin with it (prior knowledge, h2c), HTTP/2 on the same port.
//
// It imports nothing but the standard library, because its image holds nothing
// but its binary.
package canary

import "time"

// Response headers of every answer; a stream, which has no end, has no
// HeaderSum.
const (
	HeaderPod  = "X-Canary-Pod"  // the pod's name
	HeaderNode = "X-Canary-Node" // the node's name
	HeaderBoot = "X-Canary-Boot" // random id of the process
	HeaderSum  = "X-Canary-Sum"  // CRC-32 (IEEE) of the body, 8 lower-case hexadecimal digits
)

// Paths that the canary serves.
const (
	PathRoot   = "/"        // the body
	PathStream = "/stream"  // an endless answer, one line each 100 ms
	PathHealth = "/healthz" // 200 while the process lives
	PathReady  = "/readyz"  // 200 while it wants traffic, 503 from the first moment of shutdown
)

// Environment variables that give the canary its name and place where no flag
// does; in a pod they come from the downward API.
const (
	EnvPod  = "CANARY_POD"
	EnvNode = "CANARY_NODE"
)

// StreamInterval is the time between two lines of PathStream.
const StreamInterval = 100 * time.Millisecond

// DefaultPort is the port that the canary listens on unless told otherwise.
const DefaultPort = 8080

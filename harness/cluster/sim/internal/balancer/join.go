package balancer

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// Join copies bytes between two connections until both directions have ended.
// An end of stream is passed on as such, and a broken connection as a reset, so
// that either side sees what it would have seen without the proxy.
func Join(a, b net.Conn) {
	var wg sync.WaitGroup
	one := func(dst, src net.Conn) {
		_, err := io.Copy(dst, src)
		if err != nil {
			if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
				Reset(a)
				Reset(b)
			}
			_ = a.Close()
			_ = b.Close()
			return
		}
		if t, ok := dst.(interface{ CloseWrite() error }); ok {
			_ = t.CloseWrite()
		} else {
			_ = dst.Close()
		}
	}
	wg.Go(func() { one(a, b) })
	one(b, a)
	wg.Wait()
}

// Reset closes a TCP connection with a reset instead of an orderly end.
func Reset(c net.Conn) {
	if t, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

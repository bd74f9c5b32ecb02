package links

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Forward passes each connection that comes to an address on to another one, as it is. It can be led elsewhere, as a name
// of production is that belongs to whichever node is the primary.
type Forward struct {
	Port int // on which it listens

	listener net.Listener
	open     sync.WaitGroup

	mu   sync.Mutex
	to   string
	life context.Context // of the connections to it
	end  context.CancelFunc
}

// NewForward begins to pass on what comes to an address, "127.0.0.1:0", to another, "host:port".
func NewForward(listen, to string) (*Forward, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("forward to %s: %w", to, err)
	}
	f := &Forward{Port: l.Addr().(*net.TCPAddr).Port, listener: l, to: to}
	f.life, f.end = context.WithCancel(context.Background())
	f.open.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return // closed
			}
			life, to := f.now()
			f.open.Go(func() { pass(life, in.(*net.TCPConn), to) })
		}
	})
	return f, nil
}

func (f *Forward) now() (context.Context, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.life, f.to
}

// Lead has every connection from now on passed on to another address. Those that are open are cut: who has them would
// otherwise wait for a node that answers no more.
func (f *Forward) Lead(to string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.end
	f.to = to
	f.life, f.end = context.WithCancel(context.Background())
	was()
}

// Close cuts what is open and listens no more.
func (f *Forward) Close() error {
	err := f.listener.Close()
	f.mu.Lock()
	f.end()
	f.mu.Unlock()
	f.open.Wait()
	return err
}

// pass copies in both directions. When either side resets the connection, so is the other: who dialled must see the
// difference between an end and a break.
func pass(ctx context.Context, in *net.TCPConn, to string) {
	defer in.Close()
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", to)
	if err != nil {
		_ = in.SetLinger(0) // a reset, as near to a refused connection as one that was accepted can come
		return
	}
	out := conn.(*net.TCPConn)
	defer out.Close()
	stop := context.AfterFunc(ctx, func() { in.Close(); out.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { half(out, in) })
	both.Go(func() { half(in, out) })
	both.Wait()
}

func half(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = to.SetLinger(0)
		to.Close()
		from.Close()
		return
	}
	_ = to.CloseWrite()
}

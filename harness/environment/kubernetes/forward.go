package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	//lint:ignore SA1019 client-go's own dialler still answers with the types of this package
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// forwards are ways from 127.0.0.1 to pods, through the API server, where no NodePort leads in. `kubectl port-forward
// service/NAME` would pick one pod and stay with it, and users would never meet the others. So the pod at the end is the
// harness's own gateway, which opens a connection of its own for each one that comes, to the name of a Service: which pod
// answers is up to the cluster, as for everybody else in it.
type forwards struct {
	rest      *rest.Config // with the user's own rights
	client    kubernetes.Interface
	namespace string

	mu      sync.Mutex
	ways    []*way
	tunnels map[string]*tunnel
}

// way listens on a port of 127.0.0.1 that stays the same when the pod at the other end is another one.
type way struct {
	port   int
	listen net.Listener
	open   sync.WaitGroup
	stop   context.CancelFunc
}

// open begins to listen. part is the harness's own whose pod the way leads to; it need not be there yet.
func (f *forwards) open(part string, inside int) (*way, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &way{port: listener.Addr().(*net.TCPAddr).Port, listen: listener, stop: stop}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tunnels == nil {
		f.tunnels = map[string]*tunnel{}
	}
	t := f.tunnels[part]
	if t == nil {
		t = &tunnel{of: f, part: part}
		f.tunnels[part] = t
	}
	f.ways = append(f.ways, w)
	w.open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			w.open.Go(func() { t.pass(ctx, conn.(*net.TCPConn), inside) })
		}
	})
	return w, nil
}

func (w *way) close() {
	_ = w.listen.Close()
	w.stop()
	w.open.Wait()
}

// close ends all ways.
func (f *forwards) close() {
	f.mu.Lock()
	ways, tunnels := f.ways, f.tunnels
	f.ways, f.tunnels = nil, nil
	f.mu.Unlock()
	for _, t := range tunnels {
		t.close()
	}
	for _, w := range ways {
		w.close()
	}
}

// tunnel is the connection to one pod, which carries those of all ways to it. It is made when it is needed, and made anew
// when it has broken.
type tunnel struct {
	of   *forwards
	part string

	mu     sync.Mutex
	conn   httpstream.Connection
	next   int
	failed time.Time // when it could not be made
	why    error
}

// again is for how long a tunnel that could not be made is not tried again: users arrive faster than it is refused.
const again = 200 * time.Millisecond

// connection is the one that there is, or a new one.
func (t *tunnel) connection() (httpstream.Connection, int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	if t.conn != nil {
		select {
		case <-t.conn.CloseChan():
			t.conn = nil
		default:
			return t.conn, t.next, nil
		}
	}
	if time.Since(t.failed) < again {
		return nil, 0, t.why
	}
	conn, err := t.dial()
	if err != nil {
		t.failed, t.why = time.Now(), err
		return nil, 0, err
	}
	t.conn = conn
	return conn, t.next, nil
}

func (t *tunnel) dial() (httpstream.Connection, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	f := t.of
	list, err := f.client.CoreV1().Pods(f.namespace).List(ctx, metav1.ListOptions{LabelSelector: partLabel + "=" + t.part})
	if err != nil {
		return nil, err
	}
	pod := ""
	for _, p := range list.Items {
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			pod = p.Name
		}
	}
	if pod == "" {
		return nil, fmt.Errorf("no pod of %s runs", t.part)
	}
	url := f.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(f.namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(f.rest)
	if err != nil {
		return nil, err
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	tunnelling, err := portforward.NewSPDYOverWebsocketDialer(url, f.rest)
	if err != nil {
		return nil, err
	}
	// As kubectl does: API servers before 1.31 know SPDY alone, and so do some proxies in front of them.
	dialer = portforward.NewFallbackDialer(tunnelling, dialer, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	conn, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, fmt.Errorf("reach %s through the API server: %w", pod, err)
	}
	return conn, nil
}

func (t *tunnel) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn != nil {
		_ = t.conn.Close()
	}
}

// pass carries one connection. What does not end in good order is reset: who dialled must see the difference.
func (t *tunnel) pass(ctx context.Context, in *net.TCPConn, port int) {
	defer in.Close()
	if err := t.carry(ctx, in, port); err != nil {
		_ = in.SetLinger(0)
	}
}

func (t *tunnel) carry(ctx context.Context, in *net.TCPConn, port int) error {
	conn, id, err := t.connection()
	if err != nil {
		return err
	}
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(id))
	wrong, err := conn.CreateStream(headers)
	if err != nil {
		_ = conn.Close() // nothing goes through it any more
		return err
	}
	defer conn.RemoveStreams(wrong)
	_ = wrong.Close() // nothing is written to it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(headers)
	if err != nil {
		_ = conn.Close()
		return err
	}
	defer conn.RemoveStreams(data)
	stop := context.AfterFunc(ctx, func() { in.Close(); _ = data.Reset() })
	defer stop()

	said := make(chan error, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(wrong, 4<<10))
		if err == nil && len(text) > 0 {
			err = errors.New(string(text))
		}
		said <- err
	}()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(data, in)
		_ = data.Close() // the other side may still answer
		sent <- err
	}()
	got := make(chan error, 1)
	go func() {
		_, err := io.Copy(in, data)
		got <- err
	}()
	select {
	case err = <-got:
	case err = <-sent:
		if err == nil {
			err = <-got
		}
	}
	_ = data.Reset()
	select {
	case more := <-said:
		return errors.Join(err, more)
	case <-conn.CloseChan():
		return errors.Join(err, portforward.ErrLostConnectionToPod)
	case <-ctx.Done():
		return ctx.Err()
	}
}

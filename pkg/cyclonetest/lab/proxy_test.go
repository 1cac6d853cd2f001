package lab_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"cyclone/pkg/cyclonetest/lab"
)

// echo answers every line with its name and the line.
func echo(t *testing.T, name string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					if _, err := fmt.Fprintln(c, name, lines.Text()); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l
}

func connect(t *testing.T, p *lab.Proxy) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, bufio.NewReader(c)
}

// say sends a line and returns the answer.
func say(c net.Conn, r *bufio.Reader, line string, patience time.Duration) (string, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(c, line); err != nil {
		return "", err
	}
	return r.ReadString('\n')
}

func proxy(t *testing.T, targets ...string) *lab.Proxy {
	t.Helper()
	p, err := lab.StartProxy("127.0.0.1:0", targets...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

const patience = 5 * time.Second

func TestProxyGoesPastDeadTargets(t *testing.T) {
	t.Parallel()
	one, two := echo(t, "one"), echo(t, "two")
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	p := proxy(t, one.Addr().String(), two.Addr().String())
	for range 3 {
		c, r := connect(t, p)
		if got, err := say(c, r, "hello", patience); err != nil || got != "two hello\n" {
			t.Errorf("answer %q, %v", got, err)
		}
	}
}

func TestProxyCutsAndRefuses(t *testing.T) {
	t.Parallel()
	p := proxy(t, echo(t, "e").Addr().String())
	c, r := connect(t, p)
	if _, err := say(c, r, "hello", patience); err != nil {
		t.Fatal(err)
	}
	p.Refuse(true)
	if n := p.Cut(); n != 1 {
		t.Errorf("%d connections were cut", n)
	}
	if got, err := say(c, r, "there?", patience); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a cut connection answers %q, %v", got, err)
	}
	c, r = connect(t, p)
	if got, err := say(c, r, "there?", patience); err == nil {
		t.Errorf("a refused connection answers %q", got)
	}
	p.Refuse(false)
	c, r = connect(t, p)
	if _, err := say(c, r, "hello", patience); err != nil {
		t.Error(err)
	}
}

// Neither end of a forgotten connection hears anything, and new ones work.
func TestProxyForgets(t *testing.T) {
	t.Parallel()
	p := proxy(t, echo(t, "e").Addr().String())
	c, r := connect(t, p)
	if _, err := say(c, r, "hello", patience); err != nil {
		t.Fatal(err)
	}
	p.Forget()
	if got, err := say(c, r, "there?", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a forgotten connection answers %q, %v", got, err)
	}
	if err := c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadByte(); errors.Is(err, io.EOF) {
		t.Error("a forgotten connection was closed")
	}
	c, r = connect(t, p)
	if _, err := say(c, r, "hello", patience); err != nil {
		t.Error(err)
	}
}

func TestProxyDelays(t *testing.T) {
	t.Parallel()
	p := proxy(t, echo(t, "e").Addr().String())
	p.Delay(30 * time.Millisecond)
	c, r := connect(t, p)
	begun := time.Now()
	if _, err := say(c, r, "hello", patience); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 60*time.Millisecond {
		t.Errorf("the answer came after %s", took)
	}
}

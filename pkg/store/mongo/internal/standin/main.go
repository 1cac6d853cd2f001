// Command standin serves the MongoDB wire protocol for the tests of package
// mongo on machines where no mongod can be had: FerretDB v1 on SQLite, behind a
// proxy that lets one writing command through at a time. FerretDB alone loses
// updates when several clients write; with the proxy it keeps the promises that
// the tests check.
//
// It prints its mongodb:// URI on standard output and ends with standard input,
// so that it never outlives the test that started it. With --dir the data stays
// in that folder: after a kill -9 the next one on the same folder, and with
// --address at the same address, has every write that was acknowledged. Without,
// everything is gone at the end. It is not a database for anybody's data:
// queries read whole collections, and a power cut may lose the last writes.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	var o options
	flag.StringVar(&o.address, "address", "127.0.0.1:0", "where to listen; port 0 is any free one")
	flag.StringVar(&o.dir, "dir", "", "folder that keeps the data; empty for one that is removed at the end")
	flag.Parse()
	if err := run(context.Background(), o, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct{ address, dir string }

// run serves until in ends.
func run(ctx context.Context, o options, in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "cyclone-mongo-standin-")
		if err != nil {
			return err
		}
		o.dir = dir
		defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.address)
	if err != nil {
		return err
	}
	db, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Handler:  "sqlite",
		// What a power cut would lose is of no interest here; what the death
		// of the process would lose is, and the system keeps that.
		SQLiteURL: "file:" + o.dir + "/?_pragma=synchronous(off)",
	})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- db.Run(ctx) }()
	backend := strings.TrimSuffix(strings.TrimPrefix(db.MongoDBURI(), "mongodb://"), "/")
	p := &proxy{backend: backend}
	go p.serve(listener)
	if _, err := fmt.Fprintf(out, "mongodb://%s/\n", listener.Addr()); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	_ = listener.Close() // the process ends
	stop()
	return <-ended
}

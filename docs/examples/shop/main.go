// Command shop is a small web service that keeps products in PostgreSQL. It is
// the example that Cyclone builds, tests and deploys.
//
//	GET  /healthz   ok once the database answers
//	GET  /products  all products, by name
//	POST /products  {"name":"tea","cents":350}
package main

import (
	"context"
	"database/sql"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/lib/pq"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv("DATABASE_URL"), ":8080"); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, database, address string) error {
	if database == "" {
		return errors.New("DATABASE_URL is not set, for instance postgres://shop:secret@postgres/shop?sslmode=disable")
	}
	db, err := sql.Open("postgres", database)
	if err != nil {
		return err
	}
	defer db.Close()
	products := &Products{DB: db}
	if err := products.Migrate(ctx); err != nil {
		return err
	}
	server := &http.Server{Addr: address, Handler: Handler(products), ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		stopped <- server.Shutdown(limited)
	}()
	log.Printf("shop listens on %s", address)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

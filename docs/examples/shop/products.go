package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// Product is something the shop sells.
type Product struct {
	Name  string `json:"name"`
	Cents int    `json:"cents"`
}

// Check says what is wrong with a product, if anything is.
func (p Product) Check() error {
	switch {
	case strings.TrimSpace(p.Name) == "":
		return errors.New("name is empty")
	case p.Cents <= 0:
		return errors.New("cents must be more than 0")
	}
	return nil
}

// Products keeps products in PostgreSQL.
type Products struct{ DB *sql.DB }

// Migrate makes the table unless it is there.
func (s *Products) Migrate(ctx context.Context) error {
	_, err := s.DB.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS products (name text PRIMARY KEY, cents integer NOT NULL)`)
	return err
}

// Put stores a product, over one of the same name.
func (s *Products) Put(ctx context.Context, p Product) error {
	_, err := s.DB.ExecContext(ctx, `INSERT INTO products VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET cents = EXCLUDED.cents`, p.Name, p.Cents)
	return err
}

// All returns the products by name.
func (s *Products) All(ctx context.Context) ([]Product, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT name, cents FROM products ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := []Product{}
	for rows.Next() {
		var p Product
		if err := rows.Scan(&p.Name, &p.Cents); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

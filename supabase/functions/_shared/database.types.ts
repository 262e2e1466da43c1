export type Json =
  | string
  | number
  | boolean
  | null
  | { [key: string]: Json | undefined }
  | Json[]

export type Database = {
  accounting: {
    Tables: {
      account_map: {
        Row: {
          account_id: string
          entity_id: string
          line: string
          organization_id: string
          updated_at: string
        }
        Insert: {
          account_id: string
          entity_id?: string
          line: string
          organization_id: string
          updated_at?: string
        }
        Update: {
          account_id?: string
          entity_id?: string
          line?: string
          organization_id?: string
          updated_at?: string
        }
        Relationships: [
          {
            foreignKeyName: "account_map_account_fkey"
            columns: ["organization_id", "entity_id", "account_id"]
            referencedRelation: "accounts"
            referencedColumns: ["organization_id", "entity_id", "account_id"]
          },
        ]
      }
      accounting_periods: {
        Row: {
          actor_id: string | null
          closed_at: string | null
          correlation_id: string | null
          entity_id: string
          locked_at: string | null
          organization_id: string
          period_id: string
          period_key: string
          status: string
        }
        Insert: {
          actor_id?: string | null
          closed_at?: string | null
          correlation_id?: string | null
          entity_id?: string
          locked_at?: string | null
          organization_id: string
          period_id?: string
          period_key: string
          status?: string
        }
        Update: {
          actor_id?: string | null
          closed_at?: string | null
          correlation_id?: string | null
          entity_id?: string
          locked_at?: string | null
          organization_id?: string
          period_id?: string
          period_key?: string
          status?: string
        }
        Relationships: [
          {
            foreignKeyName: "accounting_periods_entity_fkey"
            columns: ["organization_id", "entity_id"]
            referencedRelation: "entities"
            referencedColumns: ["organization_id", "entity_id"]
          },
        ]
      }
      accounts: {
        Row: {
          account_id: string
          account_type: string
          code: string
          created_at: string
          entity_id: string
          metadata: NonNullable<Json>
          name: string
          organization_id: string
          parent_account_id: string | null
        }
        Insert: {
          account_id?: string
          account_type: string
          code: string
          created_at?: string
          entity_id?: string
          metadata?: NonNullable<Json>
          name: string
          organization_id: string
          parent_account_id?: string | null
        }
        Update: {
          account_id?: string
          account_type?: string
          code?: string
          created_at?: string
          entity_id?: string
          metadata?: NonNullable<Json>
          name?: string
          organization_id?: string
          parent_account_id?: string | null
        }
        Relationships: [
          {
            foreignKeyName: "accounts_entity_fkey"
            columns: ["organization_id", "entity_id"]
            referencedRelation: "entities"
            referencedColumns: ["organization_id", "entity_id"]
          },
          {
            foreignKeyName: "accounts_parent_fkey"
            columns: ["organization_id", "entity_id", "parent_account_id"]
            referencedRelation: "accounts"
            referencedColumns: ["organization_id", "entity_id", "account_id"]
          },
        ]
      }
      approval_decisions: {
        Row: {
          action: string
          approver_id: string
          authn_method: string
          correlation_id: string
          decided_at: string
          decision_id: string
          organization_id: string
          proposal_id: string
          proposed_by: string
          reason: string | null
          xact_id: unknown
        }
        Insert: {
          action: string
          approver_id: string
          authn_method: string
          correlation_id: string
          decided_at?: string
          decision_id?: string
          organization_id: string
          proposal_id: string
          proposed_by: string
          reason?: string | null
          xact_id?: unknown
        }
        Update: {
          action?: string
          approver_id?: string
          authn_method?: string
          correlation_id?: string
          decided_at?: string
          decision_id?: string
          organization_id?: string
          proposal_id?: string
          proposed_by?: string
          reason?: string | null
          xact_id?: unknown
        }
        Relationships: [
          {
            foreignKeyName: "approval_decisions_proposal_fkey"
            columns: ["organization_id", "proposal_id", "proposed_by"]
            referencedRelation: "approval_proposals"
            referencedColumns: ["organization_id", "proposal_id", "proposed_by"]
          },
        ]
      }
      approval_proposals: {
        Row: {
          approved_transaction_id: string | null
          approved_until: string | null
          authn_method: string
          correlation_id: string
          created_at: string
          decided_at: string | null
          entity_id: string
          external_id: string
          impact_amount: number
          input_hash: string
          matched_rule_id: string | null
          organization_id: string
          output_hash: string | null
          policy_threshold_amount: number
          proposal_id: string
          proposed_by: string
          request_payload: string
          required_approvals: number
          response_payload: string | null
          source_system: string
          status: string
          tool_name: string
        }
        Insert: {
          approved_transaction_id?: string | null
          approved_until?: string | null
          authn_method: string
          correlation_id: string
          created_at?: string
          decided_at?: string | null
          entity_id?: string
          external_id: string
          impact_amount: number
          input_hash: string
          matched_rule_id?: string | null
          organization_id: string
          output_hash?: string | null
          policy_threshold_amount: number
          proposal_id?: string
          proposed_by: string
          request_payload: string
          required_approvals?: number
          response_payload?: string | null
          source_system: string
          status?: string
          tool_name: string
        }
        Update: {
          approved_transaction_id?: string | null
          approved_until?: string | null
          authn_method?: string
          correlation_id?: string
          created_at?: string
          decided_at?: string | null
          entity_id?: string
          external_id?: string
          impact_amount?: number
          input_hash?: string
          matched_rule_id?: string | null
          organization_id?: string
          output_hash?: string | null
          policy_threshold_amount?: number
          proposal_id?: string
          proposed_by?: string
          request_payload?: string
          required_approvals?: number
          response_payload?: string | null
          source_system?: string
          status?: string
          tool_name?: string
        }
        Relationships: [
          {
            foreignKeyName: "approval_proposals_entity_fkey"
            columns: ["organization_id", "entity_id"]
            referencedRelation: "entities"
            referencedColumns: ["organization_id", "entity_id"]
          },
          {
            foreignKeyName: "approval_proposals_rule_fkey"
            columns: ["organization_id", "matched_rule_id"]
            referencedRelation: "policy_rules"
            referencedColumns: ["organization_id", "rule_id"]
          },
          {
            foreignKeyName: "approval_proposals_transaction_fkey"
            columns: ["organization_id", "approved_transaction_id"]
            referencedRelation: "ledger_transactions"
            referencedColumns: ["organization_id", "transaction_id"]
          },
        ]
      }
      balance_snapshots: {
        Row: {
          account_id: string
          balance: number
          currency: string
          entity_id: string
          organization_id: string
          recorded_at: string
          snapshot_date: string
          snapshot_id: string
          source_artifact_id: string | null
          source_system: string
        }
        Insert: {
          account_id: string
          balance: number
          currency?: string
          entity_id?: string
          organization_id: string
          recorded_at?: string
          snapshot_date: string
          snapshot_id?: string
          source_artifact_id?: string | null
          source_system: string
        }
        Update: {
          account_id?: string
          balance?: number
          currency?: string
          entity_id?: string
          organization_id?: string
          recorded_at?: string
          snapshot_date?: string
          snapshot_id?: string
          source_artifact_id?: string | null
          source_system?: string
        }
        Relationships: [
          {
            foreignKeyName: "balance_snapshots_account_fkey"
            columns: ["organization_id", "entity_id", "account_id"]
            referencedRelation: "accounts"
            referencedColumns: ["organization_id", "entity_id", "account_id"]
          },
        ]
      }
      entities: {
        Row: {
          code: string
          created_at: string
          entity_id: string
          metadata: NonNullable<Json>
          name: string
          organization_id: string
        }
        Insert: {
          code: string
          created_at?: string
          entity_id?: string
          metadata?: NonNullable<Json>
          name: string
          organization_id: string
        }
        Update: {
          code?: string
          created_at?: string
          entity_id?: string
          metadata?: NonNullable<Json>
          name?: string
          organization_id?: string
        }
        Relationships: []
      }
      ledger_postings: {
        Row: {
          account_id: string
          amount: number
          currency: string
          entity_id: string
          memo: string | null
          organization_id: string
          position: number
          posting_id: string
          transaction_id: string
          xact_id: unknown
        }
        Insert: {
          account_id: string
          amount: number
          currency?: string
          entity_id: string
          memo?: string | null
          organization_id: string
          position: number
          posting_id?: string
          transaction_id: string
          xact_id?: unknown
        }
        Update: {
          account_id?: string
          amount?: number
          currency?: string
          entity_id?: string
          memo?: string | null
          organization_id?: string
          position?: number
          posting_id?: string
          transaction_id?: string
          xact_id?: unknown
        }
        Relationships: [
          {
            foreignKeyName: "ledger_postings_account_fkey"
            columns: ["organization_id", "entity_id", "account_id"]
            referencedRelation: "accounts"
            referencedColumns: ["organization_id", "entity_id", "account_id"]
          },
          {
            foreignKeyName: "ledger_postings_transaction_fkey"
            columns: ["organization_id", "entity_id", "transaction_id"]
            referencedRelation: "ledger_transactions"
            referencedColumns: [
              "organization_id",
              "entity_id",
              "transaction_id",
            ]
          },
        ]
      }
      ledger_transactions: {
        Row: {
          adjusting_reason_code: string | null
          correlation_id: string
          description: string
          entity_id: string
          external_id: string
          input_hash: string
          is_adjusting_entry: boolean
          occurred_on: string | null
          organization_id: string
          output_hash: string | null
          recorded_at: string
          recorded_by: string
          response_payload: string | null
          reverses_transaction_id: string | null
          source_system: string
          transaction_date: string
          transaction_id: string
          xact_id: unknown
        }
        Insert: {
          adjusting_reason_code?: string | null
          correlation_id: string
          description: string
          entity_id?: string
          external_id: string
          input_hash: string
          is_adjusting_entry?: boolean
          occurred_on?: string | null
          organization_id: string
          output_hash?: string | null
          recorded_at?: string
          recorded_by: string
          response_payload?: string | null
          reverses_transaction_id?: string | null
          source_system: string
          transaction_date: string
          transaction_id?: string
          xact_id?: unknown
        }
        Update: {
          adjusting_reason_code?: string | null
          correlation_id?: string
          description?: string
          entity_id?: string
          external_id?: string
          input_hash?: string
          is_adjusting_entry?: boolean
          occurred_on?: string | null
          organization_id?: string
          output_hash?: string | null
          recorded_at?: string
          recorded_by?: string
          response_payload?: string | null
          reverses_transaction_id?: string | null
          source_system?: string
          transaction_date?: string
          transaction_id?: string
          xact_id?: unknown
        }
        Relationships: [
          {
            foreignKeyName: "ledger_transactions_entity_fkey"
            columns: ["organization_id", "entity_id"]
            referencedRelation: "entities"
            referencedColumns: ["organization_id", "entity_id"]
          },
          {
            foreignKeyName: "ledger_transactions_reverses_fkey"
            columns: ["organization_id", "entity_id", "reverses_transaction_id"]
            referencedRelation: "ledger_transactions"
            referencedColumns: [
              "organization_id",
              "entity_id",
              "transaction_id",
            ]
          },
        ]
      }
      obligations: {
        Row: {
          account_id: string | null
          active: boolean
          cadence: string
          created_at: string
          due_day: number
          entity_id: string
          expected_amount: number
          metadata: NonNullable<Json>
          name: string
          next_due_date: string
          obligation_id: string
          organization_id: string
          source_system: string
          updated_at: string
          variability_flag: boolean
        }
        Insert: {
          account_id?: string | null
          active?: boolean
          cadence: string
          created_at?: string
          due_day: number
          entity_id?: string
          expected_amount: number
          metadata?: NonNullable<Json>
          name: string
          next_due_date: string
          obligation_id?: string
          organization_id: string
          source_system: string
          updated_at?: string
          variability_flag?: boolean
        }
        Update: {
          account_id?: string | null
          active?: boolean
          cadence?: string
          created_at?: string
          due_day?: number
          entity_id?: string
          expected_amount?: number
          metadata?: NonNullable<Json>
          name?: string
          next_due_date?: string
          obligation_id?: string
          organization_id?: string
          source_system?: string
          updated_at?: string
          variability_flag?: boolean
        }
        Relationships: [
          {
            foreignKeyName: "obligations_account_fkey"
            columns: ["organization_id", "entity_id", "account_id"]
            referencedRelation: "accounts"
            referencedColumns: ["organization_id", "entity_id", "account_id"]
          },
          {
            foreignKeyName: "obligations_entity_fkey"
            columns: ["organization_id", "entity_id"]
            referencedRelation: "entities"
            referencedColumns: ["organization_id", "entity_id"]
          },
        ]
      }
      policy_rules: {
        Row: {
          active: boolean
          allows_asserted: boolean
          created_at: string
          entity_id: string | null
          metadata: NonNullable<Json>
          model: string | null
          organization_id: string
          priority: number
          recent_uses: string[]
          required_approvals: number
          risk_band: string | null
          rule_id: string
          threshold_amount: number
          tool_name: string | null
          transaction_category: string | null
          updated_at: string
          velocity_limit_count: number | null
          velocity_window_seconds: number | null
        }
        Insert: {
          active?: boolean
          allows_asserted?: boolean
          created_at?: string
          entity_id?: string | null
          metadata?: NonNullable<Json>
          model?: string | null
          organization_id: string
          priority: number
          recent_uses?: string[]
          required_approvals?: number
          risk_band?: string | null
          rule_id?: string
          threshold_amount: number
          tool_name?: string | null
          transaction_category?: string | null
          updated_at?: string
          velocity_limit_count?: number | null
          velocity_window_seconds?: number | null
        }
        Update: {
          active?: boolean
          allows_asserted?: boolean
          created_at?: string
          entity_id?: string | null
          metadata?: NonNullable<Json>
          model?: string | null
          organization_id?: string
          priority?: number
          recent_uses?: string[]
          required_approvals?: number
          risk_band?: string | null
          rule_id?: string
          threshold_amount?: number
          tool_name?: string | null
          transaction_category?: string | null
          updated_at?: string
          velocity_limit_count?: number | null
          velocity_window_seconds?: number | null
        }
        Relationships: [
          {
            foreignKeyName: "policy_rules_entity_fkey"
            columns: ["organization_id", "entity_id"]
            referencedRelation: "entities"
            referencedColumns: ["organization_id", "entity_id"]
          },
        ]
      }
      provider_cost_days: {
        Row: {
          cost_usd: number
          day: string
          organization_id: string
          posted_at: string
          posting_count: number
          usage_usd: number
        }
        Insert: {
          cost_usd?: number
          day: string
          organization_id: string
          posted_at: string
          posting_count?: number
          usage_usd?: number
        }
        Update: {
          cost_usd?: number
          day?: string
          organization_id?: string
          posted_at?: string
          posting_count?: number
          usage_usd?: number
        }
        Relationships: []
      }
      rounding_carries: {
        Row: {
          carry_usd: number
          credit_line: string
          debit_line: string
          entity_id: string
          organization_id: string
        }
        Insert: {
          carry_usd?: number
          credit_line: string
          debit_line: string
          entity_id?: string
          organization_id: string
        }
        Update: {
          carry_usd?: number
          credit_line?: string
          debit_line?: string
          entity_id?: string
          organization_id?: string
        }
        Relationships: [
          {
            foreignKeyName: "rounding_carries_entity_fkey"
            columns: ["organization_id", "entity_id"]
            referencedRelation: "entities"
            referencedColumns: ["organization_id", "entity_id"]
          },
        ]
      }
    }
    Views: {
      [_ in never]: never
    }
    Functions: {
      account_ledger: {
        Args: {
          p_account_id: string
          p_from?: string
          p_organization_id: string
          p_to?: string
        }
        Returns: Database["accounting"]["CompositeTypes"]["account_ledger_line"][]
        SetofOptions: {
          from: "*"
          to: "account_ledger_line"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      approve_proposal: {
        Args: {
          p_actor?: string
          p_correlation_id?: string
          p_organization_id: string
          p_proposal_id: string
          p_reason?: string
        }
        Returns: Database["accounting"]["CompositeTypes"]["approval_outcome"]
        SetofOptions: {
          from: "*"
          to: "approval_outcome"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      balance_as_of: {
        Args: {
          p_account_id: string
          p_date?: string
          p_organization_id: string
          p_with_parts?: boolean
        }
        Returns: number
      }
      balance_sheet: {
        Args: {
          p_date?: string
          p_entity_id?: string
          p_organization_id: string
        }
        Returns: Database["accounting"]["CompositeTypes"]["statement_line"][]
        SetofOptions: {
          from: "*"
          to: "statement_line"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      close_period: {
        Args: {
          p_actor?: string
          p_correlation_id: string
          p_entity_id?: string
          p_organization_id: string
          p_period_key: string
        }
        Returns: Database["accounting"]["CompositeTypes"]["period_answer"]
        SetofOptions: {
          from: "*"
          to: "period_answer"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      compare_snapshots: {
        Args: { p_entity_id?: string; p_organization_id: string }
        Returns: Database["accounting"]["CompositeTypes"]["snapshot_difference"][]
        SetofOptions: {
          from: "*"
          to: "snapshot_difference"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      get_account_map: {
        Args: { p_organization_id: string }
        Returns: Database["accounting"]["CompositeTypes"]["account_map_line"][]
        SetofOptions: {
          from: "*"
          to: "account_map_line"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      income_statement: {
        Args: {
          p_entity_id?: string
          p_from?: string
          p_organization_id: string
          p_to?: string
        }
        Returns: Database["accounting"]["CompositeTypes"]["statement_line"][]
        SetofOptions: {
          from: "*"
          to: "statement_line"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      lock_period: {
        Args: {
          p_actor?: string
          p_correlation_id: string
          p_entity_id?: string
          p_organization_id: string
          p_period_key: string
        }
        Returns: Database["accounting"]["CompositeTypes"]["period_answer"]
        SetofOptions: {
          from: "*"
          to: "period_answer"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      post_history: { Args: { p_organization_id?: string }; Returns: number }
      post_provider_cost: {
        Args: { p_day?: string; p_organization_id?: string }
        Returns: number
      }
      record_balance_snapshot: {
        Args: {
          p_account_id: string
          p_actor?: string
          p_balance: number
          p_correlation_id?: string
          p_organization_id: string
          p_snapshot_date: string
          p_source_artifact_id?: string
          p_source_system: string
        }
        Returns: {
          account_id: string
          balance: number
          currency: string
          entity_id: string
          organization_id: string
          recorded_at: string
          snapshot_date: string
          snapshot_id: string
          source_artifact_id: string | null
          source_system: string
        }
        SetofOptions: {
          from: "*"
          to: "balance_snapshots"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      record_transaction_bundle: {
        Args: { p_actor?: string; p_organization_id: string; p_request: string }
        Returns: string
      }
      reject_proposal: {
        Args: {
          p_actor?: string
          p_correlation_id?: string
          p_organization_id: string
          p_proposal_id: string
          p_reason?: string
        }
        Returns: Database["accounting"]["CompositeTypes"]["approval_outcome"]
        SetofOptions: {
          from: "*"
          to: "approval_outcome"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      reopen_period: {
        Args: {
          p_actor?: string
          p_correlation_id: string
          p_entity_id?: string
          p_organization_id: string
          p_period_key: string
        }
        Returns: Database["accounting"]["CompositeTypes"]["period_answer"]
        SetofOptions: {
          from: "*"
          to: "period_answer"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      retire_policy_rule: {
        Args: { p_organization_id: string; p_rule_id: string }
        Returns: {
          active: boolean
          allows_asserted: boolean
          created_at: string
          entity_id: string | null
          metadata: NonNullable<Json>
          model: string | null
          organization_id: string
          priority: number
          recent_uses: string[]
          required_approvals: number
          risk_band: string | null
          rule_id: string
          threshold_amount: number
          tool_name: string | null
          transaction_category: string | null
          updated_at: string
          velocity_limit_count: number | null
          velocity_window_seconds: number | null
        }
        SetofOptions: {
          from: "*"
          to: "policy_rules"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      reverse_transaction: {
        Args: {
          p_actor?: string
          p_adjusting_reason_code?: string
          p_correlation_id: string
          p_description?: string
          p_organization_id: string
          p_override_period_lock?: boolean
          p_transaction_date: string
          p_transaction_id: string
        }
        Returns: string
      }
      roll_obligations: {
        Args: {
          p_actor?: string
          p_correlation_id?: string
          p_day: string
          p_organization_id: string
        }
        Returns: {
          account_id: string | null
          active: boolean
          cadence: string
          created_at: string
          due_day: number
          entity_id: string
          expected_amount: number
          metadata: NonNullable<Json>
          name: string
          next_due_date: string
          obligation_id: string
          organization_id: string
          source_system: string
          updated_at: string
          variability_flag: boolean
        }[]
        SetofOptions: {
          from: "*"
          to: "obligations"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      set_account: {
        Args: {
          p_account_id?: string
          p_account_type: string
          p_actor?: string
          p_code: string
          p_correlation_id?: string
          p_entity_id?: string
          p_metadata?: Json
          p_name: string
          p_organization_id: string
          p_parent_account_id?: string
        }
        Returns: {
          account_id: string
          account_type: string
          code: string
          created_at: string
          entity_id: string
          metadata: NonNullable<Json>
          name: string
          organization_id: string
          parent_account_id: string | null
        }
        SetofOptions: {
          from: "*"
          to: "accounts"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      set_account_map: {
        Args: {
          p_account_id: string
          p_actor?: string
          p_correlation_id?: string
          p_line: string
          p_organization_id: string
        }
        Returns: {
          account_id: string
          entity_id: string
          line: string
          organization_id: string
          updated_at: string
        }
        SetofOptions: {
          from: "*"
          to: "account_map"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      set_entity: {
        Args: {
          p_actor?: string
          p_code: string
          p_correlation_id?: string
          p_entity_id?: string
          p_metadata?: Json
          p_name: string
          p_organization_id: string
        }
        Returns: {
          code: string
          created_at: string
          entity_id: string
          metadata: NonNullable<Json>
          name: string
          organization_id: string
        }
        SetofOptions: {
          from: "*"
          to: "entities"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      set_obligation: {
        Args: {
          p_account_id?: string
          p_active?: boolean
          p_actor?: string
          p_cadence: string
          p_correlation_id?: string
          p_entity_id?: string
          p_expected_amount: number
          p_metadata?: Json
          p_name: string
          p_next_due_date: string
          p_organization_id: string
          p_source_system: string
          p_variability_flag?: boolean
        }
        Returns: {
          account_id: string | null
          active: boolean
          cadence: string
          created_at: string
          due_day: number
          entity_id: string
          expected_amount: number
          metadata: NonNullable<Json>
          name: string
          next_due_date: string
          obligation_id: string
          organization_id: string
          source_system: string
          updated_at: string
          variability_flag: boolean
        }
        SetofOptions: {
          from: "*"
          to: "obligations"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      set_policy_rule: {
        Args: {
          p_allows_asserted?: boolean
          p_entity_id?: string
          p_metadata?: Json
          p_model?: string
          p_organization_id: string
          p_priority?: number
          p_required_approvals?: number
          p_risk_band?: string
          p_rule_id: string
          p_threshold_amount: number
          p_tool_name?: string
          p_transaction_category?: string
          p_velocity_limit_count?: number
          p_velocity_window_seconds?: number
        }
        Returns: {
          active: boolean
          allows_asserted: boolean
          created_at: string
          entity_id: string | null
          metadata: NonNullable<Json>
          model: string | null
          organization_id: string
          priority: number
          recent_uses: string[]
          required_approvals: number
          risk_band: string | null
          rule_id: string
          threshold_amount: number
          tool_name: string | null
          transaction_category: string | null
          updated_at: string
          velocity_limit_count: number | null
          velocity_window_seconds: number | null
        }
        SetofOptions: {
          from: "*"
          to: "policy_rules"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      trial_balance: {
        Args: {
          p_entity_id?: string
          p_from?: string
          p_organization_id: string
          p_to?: string
        }
        Returns: Database["accounting"]["CompositeTypes"]["trial_balance_line"][]
        SetofOptions: {
          from: "*"
          to: "trial_balance_line"
          isOneToOne: false
          isSetofReturn: true
        }
      }
    }
    Enums: {
      [_ in never]: never
    }
    CompositeTypes: {
      account_ledger_line: {
        transaction_date: string | null
        transaction_id: string | null
        posting_id: string | null
        source_system: string | null
        external_id: string | null
        description: string | null
        memo: string | null
        is_adjusting_entry: boolean | null
        reverses_transaction_id: string | null
        currency: string | null
        amount: string | null
        running_balance: string | null
      }
      account_map_line: {
        line: string | null
        posted_for: string | null
        account_id: string | null
        code: string | null
        name: string | null
        account_type: string | null
      }
      approval_outcome: {
        proposal_id: string | null
        status: string | null
        approvals: number | null
        required_approvals: number | null
        transaction_id: string | null
        response_payload: string | null
        approved_until: string | null
        error_code: string | null
        error_message: string | null
        facts: Json | null
        hint: string | null
      }
      period_answer: {
        status: string | null
        period_id: string | null
        entity_id: string | null
        period_key: string | null
        period_status: string | null
        closed_at: string | null
        locked_at: string | null
        error_code: string | null
      }
      snapshot_difference: {
        snapshot_id: string | null
        entity_id: string | null
        account_id: string | null
        code: string | null
        snapshot_date: string | null
        source_system: string | null
        currency: string | null
        stated_balance: string | null
        book_balance: string | null
        difference: string | null
      }
      statement_line: {
        section: string | null
        entity_id: string | null
        account_id: string | null
        parent_account_id: string | null
        code: string | null
        name: string | null
        currency: string | null
        amount: string | null
      }
      trial_balance_line: {
        entity_id: string | null
        account_id: string | null
        parent_account_id: string | null
        code: string | null
        name: string | null
        account_type: string | null
        currency: string | null
        opening_balance: string | null
        debits: string | null
        credits: string | null
        closing_balance: string | null
      }
    }
  }
  audit: {
    Tables: {
      checkpoints: {
        Row: {
          checked_at: string
          seal: number
        }
        Insert: {
          checked_at?: string
          seal: number
        }
        Update: {
          checked_at?: string
          seal?: number
        }
        Relationships: []
      }
      event_log: {
        Row: {
          actor_id: string | null
          authn_method: string | null
          authorization_result: string | null
          correlation_id: string
          duration_ms: number
          error_code: string | null
          error_message: string | null
          event_id: string
          event_timestamp: string
          input_hash: string
          organization_id: string
          output_hash: string
          status: string
          tool_name: string
          violation_code: string | null
          xact_id: unknown
        }
        Insert: {
          actor_id?: string | null
          authn_method?: string | null
          authorization_result?: string | null
          correlation_id: string
          duration_ms?: number
          error_code?: string | null
          error_message?: string | null
          event_id?: string
          event_timestamp?: string
          input_hash: string
          organization_id: string
          output_hash: string
          status: string
          tool_name: string
          violation_code?: string | null
          xact_id?: unknown
        }
        Update: {
          actor_id?: string | null
          authn_method?: string | null
          authorization_result?: string | null
          correlation_id?: string
          duration_ms?: number
          error_code?: string | null
          error_message?: string | null
          event_id?: string
          event_timestamp?: string
          input_hash?: string
          organization_id?: string
          output_hash?: string
          status?: string
          tool_name?: string
          violation_code?: string | null
          xact_id?: unknown
        }
        Relationships: []
      }
      outbox: {
        Row: {
          created_at: string
          delivered_at: string | null
          id: string
          organization_id: string
          payload: NonNullable<Json>
          subject_id: string
          topic: string
        }
        Insert: {
          created_at?: string
          delivered_at?: string | null
          id?: string
          organization_id: string
          payload: NonNullable<Json>
          subject_id: string
          topic: string
        }
        Update: {
          created_at?: string
          delivered_at?: string | null
          id?: string
          organization_id?: string
          payload?: NonNullable<Json>
          subject_id?: string
          topic?: string
        }
        Relationships: []
      }
      seal_epochs: {
        Row: {
          epoch: number
          is_caught_up: boolean
          started_at: string
          system_identifier: number
        }
        Insert: {
          epoch: number
          is_caught_up?: boolean
          started_at?: string
          system_identifier: number
        }
        Update: {
          epoch?: number
          is_caught_up?: boolean
          started_at?: string
          system_identifier?: number
        }
        Relationships: []
      }
      seal_leaves: {
        Row: {
          leaf: string
          ledger: string
          organization_id: string
          row_id: string
          salt: string | null
          seal: number
        }
        Insert: {
          leaf: string
          ledger: string
          organization_id: string
          row_id: string
          salt?: string | null
          seal: number
        }
        Update: {
          leaf?: string
          ledger?: string
          organization_id?: string
          row_id?: string
          salt?: string | null
          seal?: number
        }
        Relationships: []
      }
      seal_roots: {
        Row: {
          kept_until: string | null
          leaf_count: number
          ledger: string
          organization_id: string
          root: string
          seal: number
        }
        Insert: {
          kept_until?: string | null
          leaf_count: number
          ledger: string
          organization_id: string
          root: string
          seal: number
        }
        Update: {
          kept_until?: string | null
          leaf_count?: number
          ledger?: string
          organization_id?: string
          root?: string
          seal?: number
        }
        Relationships: []
      }
      sealed_ledgers: {
        Row: {
          editable_columns: unknown[]
          erasable_columns: unknown[]
          is_caught_up: boolean
          kept_for: string | null
          key_columns: unknown[]
          ledger: string
          organization_column: unknown
          sealed_below: unknown
          sealed_columns: unknown[]
          time_column: unknown
        }
        Insert: {
          editable_columns?: unknown[]
          erasable_columns?: unknown[]
          is_caught_up?: boolean
          kept_for?: string | null
          key_columns: unknown[]
          ledger: string
          organization_column: unknown
          sealed_below?: unknown
          sealed_columns: unknown[]
          time_column?: unknown
        }
        Update: {
          editable_columns?: unknown[]
          erasable_columns?: unknown[]
          is_caught_up?: boolean
          kept_for?: string | null
          key_columns?: unknown[]
          ledger?: string
          organization_column?: unknown
          sealed_below?: unknown
          sealed_columns?: unknown[]
          time_column?: unknown
        }
        Relationships: []
      }
      seals: {
        Row: {
          epoch: number
          hash: string
          is_catching_up: boolean
          joined: string[]
          joining: string[]
          leaf_count: number
          previous: string
          root: string
          seal: number
          sealed_at: string
          system_identifier: number
          xact_below: unknown
          xact_next: unknown
          xact_sealed: unknown
        }
        Insert: {
          epoch: number
          hash: string
          is_catching_up: boolean
          joined?: string[]
          joining?: string[]
          leaf_count: number
          previous: string
          root: string
          seal: number
          sealed_at: string
          system_identifier: number
          xact_below: unknown
          xact_next: unknown
          xact_sealed: unknown
        }
        Update: {
          epoch?: number
          hash?: string
          is_catching_up?: boolean
          joined?: string[]
          joining?: string[]
          leaf_count?: number
          previous?: string
          root?: string
          seal?: number
          sealed_at?: string
          system_identifier?: number
          xact_below?: unknown
          xact_next?: unknown
          xact_sealed?: unknown
        }
        Relationships: [
          {
            foreignKeyName: "seals_epoch_fkey"
            columns: ["epoch"]
            referencedRelation: "seal_epochs"
            referencedColumns: ["epoch"]
          },
        ]
      }
      tombstones: {
        Row: {
          ledger: string
          organization_id: string
          removed_at: string
          removed_by: string
          row_id: string
          xact_id: unknown
        }
        Insert: {
          ledger: string
          organization_id: string
          removed_at?: string
          removed_by: string
          row_id: string
          xact_id?: unknown
        }
        Update: {
          ledger?: string
          organization_id?: string
          removed_at?: string
          removed_by?: string
          row_id?: string
          xact_id?: unknown
        }
        Relationships: []
      }
    }
    Views: {
      [_ in never]: never
    }
    Functions: {
      acknowledge_events: {
        Args: { p_ids: string[]; p_organization_id: string }
        Returns: number
      }
      make_checkpoint: {
        Args: { p_full?: boolean }
        Returns: Database["audit"]["CompositeTypes"]["finding"][]
        SetofOptions: {
          from: "*"
          to: "finding"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      seal_ledgers: {
        Args: { p_limit?: number }
        Returns: {
          epoch: number
          hash: string
          is_catching_up: boolean
          joined: string[]
          joining: string[]
          leaf_count: number
          previous: string
          root: string
          seal: number
          sealed_at: string
          system_identifier: number
          xact_below: unknown
          xact_next: unknown
          xact_sealed: unknown
        }[]
        SetofOptions: {
          from: "*"
          to: "seals"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      verify_integrity: {
        Args: { p_full?: boolean; p_organization_id?: string }
        Returns: Database["audit"]["CompositeTypes"]["finding"][]
        SetofOptions: {
          from: "*"
          to: "finding"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      verify_seals: {
        Args: { p_organization_id?: string; p_published_hash?: string }
        Returns: Database["audit"]["CompositeTypes"]["seal_finding"][]
        SetofOptions: {
          from: "*"
          to: "seal_finding"
          isOneToOne: false
          isSetofReturn: true
        }
      }
    }
    Enums: {
      [_ in never]: never
    }
    CompositeTypes: {
      finding: {
        check_name: string | null
        organization_id: string | null
        subject: string | null
        expected: string | null
        actual: string | null
      }
      seal_finding: {
        check_name: string | null
        ledger: string | null
        organization_id: string | null
        row_id: string | null
        seal: number | null
        expected: string | null
        actual: string | null
      }
    }
  }
  billing: {
    Tables: {
      agents: {
        Row: {
          completed_at: string | null
          created_at: string
          id: string
          name: string
          org_id: string
          run_id: string
          status: string
        }
        Insert: {
          completed_at?: string | null
          created_at?: string
          id?: string
          name: string
          org_id: string
          run_id: string
          status?: string
        }
        Update: {
          completed_at?: string | null
          created_at?: string
          id?: string
          name?: string
          org_id?: string
          run_id?: string
          status?: string
        }
        Relationships: [
          {
            foreignKeyName: "agents_run_fkey"
            columns: ["org_id", "run_id"]
            referencedRelation: "run_records"
            referencedColumns: ["org_id", "id"]
          },
          {
            foreignKeyName: "agents_run_fkey"
            columns: ["org_id", "run_id"]
            referencedRelation: "runs"
            referencedColumns: ["org_id", "id"]
          },
          {
            foreignKeyName: "agents_run_fkey"
            columns: ["org_id", "run_id"]
            referencedRelation: "v_run_billing_summary"
            referencedColumns: ["org_id", "run_id"]
          },
        ]
      }
      billing_ledger: {
        Row: {
          agent_id: string | null
          amount_usd: number
          created_at: string
          created_by: string | null
          direction: string
          draw_id: string | null
          id: string
          idempotency_key: string | null
          org_id: string
          reason: string
          run_id: string | null
          task_id: string | null
          transaction_type: string
          xact_id: unknown
        }
        Insert: {
          agent_id?: string | null
          amount_usd: number
          created_at: string
          created_by?: string | null
          direction: string
          draw_id?: string | null
          id?: string
          idempotency_key?: string | null
          org_id: string
          reason: string
          run_id?: string | null
          task_id?: string | null
          transaction_type: string
          xact_id?: unknown
        }
        Update: {
          agent_id?: string | null
          amount_usd?: number
          created_at?: string
          created_by?: string | null
          direction?: string
          draw_id?: string | null
          id?: string
          idempotency_key?: string | null
          org_id?: string
          reason?: string
          run_id?: string | null
          task_id?: string | null
          transaction_type?: string
          xact_id?: unknown
        }
        Relationships: []
      }
      credit_balance_history: {
        Row: {
          balance_after_usd: number
          balance_before_usd: number
          billing_ledger_id: string
          change_usd: number
          created_at: string
          id: string
          movement: number
          org_id: string
          reason: string
        }
        Insert: {
          balance_after_usd: number
          balance_before_usd: number
          billing_ledger_id: string
          change_usd: number
          created_at: string
          id?: string
          movement: number
          org_id: string
          reason: string
        }
        Update: {
          balance_after_usd?: number
          balance_before_usd?: number
          billing_ledger_id?: string
          change_usd?: number
          created_at?: string
          id?: string
          movement?: number
          org_id?: string
          reason?: string
        }
        Relationships: [
          {
            foreignKeyName: "fk_credit_balance_history_ledger"
            columns: ["org_id", "billing_ledger_id"]
            referencedRelation: "billing_ledger"
            referencedColumns: ["org_id", "id"]
          },
        ]
      }
      credit_balances: {
        Row: {
          balance_usd: number
          created_at: string
          id: string
          is_low: boolean
          low_balance_usd: number | null
          movement_count: number
          org_id: string
          receivable_count: number
          reserved_usd: number
          updated_at: string
        }
        Insert: {
          balance_usd?: number
          created_at?: string
          id?: string
          is_low?: boolean
          low_balance_usd?: number | null
          movement_count?: number
          org_id: string
          receivable_count?: number
          reserved_usd?: number
          updated_at?: string
        }
        Update: {
          balance_usd?: number
          created_at?: string
          id?: string
          is_low?: boolean
          low_balance_usd?: number | null
          movement_count?: number
          org_id?: string
          receivable_count?: number
          reserved_usd?: number
          updated_at?: string
        }
        Relationships: []
      }
      credit_grants: {
        Row: {
          amount_usd: number
          created_at: string
          expires_at: string | null
          id: string
          kind: string
          model: string | null
          org_id: string
          priority: number
          remaining_usd: number
          reserved_usd: number
        }
        Insert: {
          amount_usd: number
          created_at: string
          expires_at?: string | null
          id?: string
          kind: string
          model?: string | null
          org_id: string
          priority: number
          remaining_usd: number
          reserved_usd?: number
        }
        Update: {
          amount_usd?: number
          created_at?: string
          expires_at?: string | null
          id?: string
          kind?: string
          model?: string | null
          org_id?: string
          priority?: number
          remaining_usd?: number
          reserved_usd?: number
        }
        Relationships: [
          {
            foreignKeyName: "credit_grants_org_id_fkey"
            columns: ["org_id"]
            referencedRelation: "credit_balances"
            referencedColumns: ["org_id"]
          },
        ]
      }
      credit_reservations: {
        Row: {
          amount_usd: number
          grant_id: string
          org_id: string
          subject_id: string
        }
        Insert: {
          amount_usd: number
          grant_id: string
          org_id: string
          subject_id: string
        }
        Update: {
          amount_usd?: number
          grant_id?: string
          org_id?: string
          subject_id?: string
        }
        Relationships: [
          {
            foreignKeyName: "credit_reservations_grant_fkey"
            columns: ["org_id", "grant_id"]
            referencedRelation: "credit_grants"
            referencedColumns: ["org_id", "id"]
          },
        ]
      }
      draws: {
        Row: {
          closed_at: string | null
          cost_incurred: number
          created_at: string
          day: string
          id: string
          org_id: string
          reserved_usd: number
          status: string
        }
        Insert: {
          closed_at?: string | null
          cost_incurred?: number
          created_at?: string
          day: string
          id?: string
          org_id: string
          reserved_usd?: number
          status?: string
        }
        Update: {
          closed_at?: string | null
          cost_incurred?: number
          created_at?: string
          day?: string
          id?: string
          org_id?: string
          reserved_usd?: number
          status?: string
        }
        Relationships: []
      }
      grant_movements: {
        Row: {
          billing_ledger_id: string
          change_usd: number
          grant_id: string
          org_id: string
        }
        Insert: {
          billing_ledger_id: string
          change_usd: number
          grant_id: string
          org_id: string
        }
        Update: {
          billing_ledger_id?: string
          change_usd?: number
          grant_id?: string
          org_id?: string
        }
        Relationships: [
          {
            foreignKeyName: "grant_movements_grant_fkey"
            columns: ["org_id", "grant_id"]
            referencedRelation: "credit_grants"
            referencedColumns: ["org_id", "id"]
          },
          {
            foreignKeyName: "grant_movements_ledger_fkey"
            columns: ["org_id", "billing_ledger_id"]
            referencedRelation: "billing_ledger"
            referencedColumns: ["org_id", "id"]
          },
        ]
      }
      receivables: {
        Row: {
          amount_usd: number
          created_at: string
          draw_id: string | null
          id: string
          number: number
          org_id: string
          outstanding_usd: number
          reason: string
          run_id: string | null
          waived_usd: number
        }
        Insert: {
          amount_usd: number
          created_at: string
          draw_id?: string | null
          id?: string
          number: number
          org_id: string
          outstanding_usd: number
          reason: string
          run_id?: string | null
          waived_usd?: number
        }
        Update: {
          amount_usd?: number
          created_at?: string
          draw_id?: string | null
          id?: string
          number?: number
          org_id?: string
          outstanding_usd?: number
          reason?: string
          run_id?: string | null
          waived_usd?: number
        }
        Relationships: [
          {
            foreignKeyName: "receivables_org_id_fkey"
            columns: ["org_id"]
            referencedRelation: "credit_balances"
            referencedColumns: ["org_id"]
          },
        ]
      }
      retention_policies: {
        Row: {
          archive_after: string | null
          delete_after: string | null
          reason: string
          table_name: string
        }
        Insert: {
          archive_after?: string | null
          delete_after?: string | null
          reason: string
          table_name: string
        }
        Update: {
          archive_after?: string | null
          delete_after?: string | null
          reason?: string
          table_name?: string
        }
        Relationships: []
      }
      run_records: {
        Row: {
          completed_at: string | null
          created_at: string
          id: string
          input_cost_estimated: number
          input_tokens_estimated: number
          model: string | null
          name: string | null
          org_id: string
          output_cost_estimated: number
          output_tokens_estimated: number
          status: string
          updated_at: string
        }
        Insert: {
          completed_at?: string | null
          created_at?: string
          id?: string
          input_cost_estimated: number
          input_tokens_estimated: number
          model?: string | null
          name?: string | null
          org_id: string
          output_cost_estimated: number
          output_tokens_estimated: number
          status?: string
          updated_at?: string
        }
        Update: {
          completed_at?: string | null
          created_at?: string
          id?: string
          input_cost_estimated?: number
          input_tokens_estimated?: number
          model?: string | null
          name?: string | null
          org_id?: string
          output_cost_estimated?: number
          output_tokens_estimated?: number
          status?: string
          updated_at?: string
        }
        Relationships: []
      }
      steps: {
        Row: {
          agent_id: string | null
          completed_at: string | null
          created_at: string
          id: string
          name: string
          org_id: string
          run_id: string
          status: string
          task_id: string | null
        }
        Insert: {
          agent_id?: string | null
          completed_at?: string | null
          created_at?: string
          id?: string
          name: string
          org_id: string
          run_id: string
          status?: string
          task_id?: string | null
        }
        Update: {
          agent_id?: string | null
          completed_at?: string | null
          created_at?: string
          id?: string
          name?: string
          org_id?: string
          run_id?: string
          status?: string
          task_id?: string | null
        }
        Relationships: [
          {
            foreignKeyName: "steps_agent_fkey"
            columns: ["org_id", "agent_id"]
            referencedRelation: "agents"
            referencedColumns: ["org_id", "id"]
          },
          {
            foreignKeyName: "steps_run_fkey"
            columns: ["org_id", "run_id"]
            referencedRelation: "run_records"
            referencedColumns: ["org_id", "id"]
          },
          {
            foreignKeyName: "steps_run_fkey"
            columns: ["org_id", "run_id"]
            referencedRelation: "runs"
            referencedColumns: ["org_id", "id"]
          },
          {
            foreignKeyName: "steps_run_fkey"
            columns: ["org_id", "run_id"]
            referencedRelation: "v_run_billing_summary"
            referencedColumns: ["org_id", "run_id"]
          },
          {
            foreignKeyName: "steps_task_fkey"
            columns: ["org_id", "task_id"]
            referencedRelation: "tasks"
            referencedColumns: ["org_id", "id"]
          },
        ]
      }
      tasks: {
        Row: {
          agent_id: string | null
          completed_at: string | null
          created_at: string
          id: string
          name: string
          org_id: string
          run_id: string
          status: string
        }
        Insert: {
          agent_id?: string | null
          completed_at?: string | null
          created_at?: string
          id?: string
          name: string
          org_id: string
          run_id: string
          status?: string
        }
        Update: {
          agent_id?: string | null
          completed_at?: string | null
          created_at?: string
          id?: string
          name?: string
          org_id?: string
          run_id?: string
          status?: string
        }
        Relationships: [
          {
            foreignKeyName: "tasks_agent_fkey"
            columns: ["org_id", "agent_id"]
            referencedRelation: "agents"
            referencedColumns: ["org_id", "id"]
          },
          {
            foreignKeyName: "tasks_run_fkey"
            columns: ["org_id", "run_id"]
            referencedRelation: "run_records"
            referencedColumns: ["org_id", "id"]
          },
          {
            foreignKeyName: "tasks_run_fkey"
            columns: ["org_id", "run_id"]
            referencedRelation: "runs"
            referencedColumns: ["org_id", "id"]
          },
          {
            foreignKeyName: "tasks_run_fkey"
            columns: ["org_id", "run_id"]
            referencedRelation: "v_run_billing_summary"
            referencedColumns: ["org_id", "run_id"]
          },
        ]
      }
      token_reconciliations: {
        Row: {
          action: string | null
          actual_cost_usd: number
          actual_input_tokens: number
          actual_output_tokens: number
          actual_total_tokens: number
          charge_amount_usd: number
          created_at: string
          dispute_refund_usd: number | null
          estimated_cost_usd: number
          estimated_input_tokens: number
          estimated_output_tokens: number
          estimated_total_tokens: number
          id: string
          notes: string | null
          org_id: string
          refund_amount_usd: number
          resolved_at: string | null
          run_id: string
          status: string
          updated_at: string
          variance_pct: number
          variance_tokens: number
        }
        Insert: {
          action?: string | null
          actual_cost_usd: number
          actual_input_tokens: number
          actual_output_tokens: number
          actual_total_tokens: number
          charge_amount_usd?: number
          created_at?: string
          dispute_refund_usd?: number | null
          estimated_cost_usd: number
          estimated_input_tokens: number
          estimated_output_tokens: number
          estimated_total_tokens: number
          id?: string
          notes?: string | null
          org_id: string
          refund_amount_usd?: number
          resolved_at?: string | null
          run_id: string
          status: string
          updated_at?: string
          variance_pct: number
          variance_tokens: number
        }
        Update: {
          action?: string | null
          actual_cost_usd?: number
          actual_input_tokens?: number
          actual_output_tokens?: number
          actual_total_tokens?: number
          charge_amount_usd?: number
          created_at?: string
          dispute_refund_usd?: number | null
          estimated_cost_usd?: number
          estimated_input_tokens?: number
          estimated_output_tokens?: number
          estimated_total_tokens?: number
          id?: string
          notes?: string | null
          org_id?: string
          refund_amount_usd?: number
          resolved_at?: string | null
          run_id?: string
          status?: string
          updated_at?: string
          variance_pct?: number
          variance_tokens?: number
        }
        Relationships: [
          {
            foreignKeyName: "fk_token_reconciliations_run"
            columns: ["org_id", "run_id"]
            referencedRelation: "run_records"
            referencedColumns: ["org_id", "id"]
          },
          {
            foreignKeyName: "fk_token_reconciliations_run"
            columns: ["org_id", "run_id"]
            referencedRelation: "runs"
            referencedColumns: ["org_id", "id"]
          },
          {
            foreignKeyName: "fk_token_reconciliations_run"
            columns: ["org_id", "run_id"]
            referencedRelation: "v_run_billing_summary"
            referencedColumns: ["org_id", "run_id"]
          },
        ]
      }
      token_records: {
        Row: {
          agent_id: string | null
          cost_usd: number
          created_at: string
          error_code: string | null
          error_message: string | null
          id: string
          input_tokens: number
          is_estimated: boolean
          model: string
          org_id: string
          output_tokens: number
          reported_total_tokens: number | null
          run_id: string
          step_id: string
          task_id: string | null
          total_tokens: number
          updated_at: string
          xact_id: unknown
        }
        Insert: {
          agent_id?: string | null
          cost_usd: number
          created_at: string
          error_code?: string | null
          error_message?: string | null
          id: string
          input_tokens: number
          is_estimated?: boolean
          model: string
          org_id: string
          output_tokens: number
          reported_total_tokens?: number | null
          run_id: string
          step_id: string
          task_id?: string | null
          total_tokens: number
          updated_at: string
          xact_id?: unknown
        }
        Update: {
          agent_id?: string | null
          cost_usd?: number
          created_at?: string
          error_code?: string | null
          error_message?: string | null
          id?: string
          input_tokens?: number
          is_estimated?: boolean
          model?: string
          org_id?: string
          output_tokens?: number
          reported_total_tokens?: number | null
          run_id?: string
          step_id?: string
          task_id?: string | null
          total_tokens?: number
          updated_at?: string
          xact_id?: unknown
        }
        Relationships: []
      }
    }
    Views: {
      runs: {
        Row: {
          completed_at: string | null
          cost_estimated: number | null
          cost_incurred: number | null
          created_at: string | null
          id: string | null
          input_cost_estimated: number | null
          input_tokens_estimated: number | null
          model: string | null
          name: string | null
          org_id: string | null
          output_cost_estimated: number | null
          output_tokens_estimated: number | null
          status: string | null
          tokens_estimated: number | null
          tokens_used: number | null
          updated_at: string | null
        }
        Relationships: []
      }
      v_high_variance_runs: {
        Row: {
          actual_cost_usd: number | null
          actual_total_tokens: number | null
          charge_amount_usd: number | null
          created_at: string | null
          estimated_cost_usd: number | null
          estimated_total_tokens: number | null
          refund_amount_usd: number | null
          run_id: string | null
          status: string | null
          variance_pct: number | null
        }
        Insert: {
          actual_cost_usd?: number | null
          actual_total_tokens?: number | null
          charge_amount_usd?: number | null
          created_at?: string | null
          estimated_cost_usd?: number | null
          estimated_total_tokens?: number | null
          refund_amount_usd?: number | null
          run_id?: string | null
          status?: string | null
          variance_pct?: number | null
        }
        Update: {
          actual_cost_usd?: number | null
          actual_total_tokens?: number | null
          charge_amount_usd?: number | null
          created_at?: string | null
          estimated_cost_usd?: number | null
          estimated_total_tokens?: number | null
          refund_amount_usd?: number | null
          run_id?: string | null
          status?: string | null
          variance_pct?: number | null
        }
        Relationships: []
      }
      v_org_billing_summary: {
        Row: {
          charge_count: number | null
          current_balance_usd: number | null
          first_transaction_at: string | null
          last_transaction_at: string | null
          org_id: string | null
          refund_count: number | null
          reserved_usd: number | null
          total_charged_usd: number | null
          total_credited_usd: number | null
        }
        Relationships: []
      }
      v_run_billing_summary: {
        Row: {
          actual_cost_usd: number | null
          actual_input_tokens: number | null
          actual_output_tokens: number | null
          actual_total_tokens: number | null
          charge_amount_usd: number | null
          completed_at: string | null
          created_at: string | null
          org_id: string | null
          reconciliation_status: string | null
          refund_amount_usd: number | null
          run_id: string | null
          status: string | null
          variance_pct: number | null
        }
        Relationships: []
      }
    }
    Functions: {
      adjust_credits: {
        Args: {
          p_amount_usd: number
          p_created_by?: string
          p_idempotency_key: string
          p_org_id: string
          p_reason: string
        }
        Returns: {
          agent_id: string | null
          amount_usd: number
          created_at: string
          created_by: string | null
          direction: string
          draw_id: string | null
          id: string
          idempotency_key: string | null
          org_id: string
          reason: string
          run_id: string | null
          task_id: string | null
          transaction_type: string
          xact_id: unknown
        }
        SetofOptions: {
          from: "*"
          to: "billing_ledger"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      cancel_run: {
        Args: { p_org_id?: string; p_run_id: string }
        Returns: {
          action: string | null
          actual_cost_usd: number
          actual_input_tokens: number
          actual_output_tokens: number
          actual_total_tokens: number
          charge_amount_usd: number
          created_at: string
          dispute_refund_usd: number | null
          estimated_cost_usd: number
          estimated_input_tokens: number
          estimated_output_tokens: number
          estimated_total_tokens: number
          id: string
          notes: string | null
          org_id: string
          refund_amount_usd: number
          resolved_at: string | null
          run_id: string
          status: string
          updated_at: string
          variance_pct: number
          variance_tokens: number
        }
        SetofOptions: {
          from: "*"
          to: "token_reconciliations"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      close_draws: {
        Args: { p_limit?: number; p_org_id?: string }
        Returns: number
      }
      complete_run: {
        Args: { p_org_id?: string; p_run_id: string }
        Returns: {
          action: string | null
          actual_cost_usd: number
          actual_input_tokens: number
          actual_output_tokens: number
          actual_total_tokens: number
          charge_amount_usd: number
          created_at: string
          dispute_refund_usd: number | null
          estimated_cost_usd: number
          estimated_input_tokens: number
          estimated_output_tokens: number
          estimated_total_tokens: number
          id: string
          notes: string | null
          org_id: string
          refund_amount_usd: number
          resolved_at: string | null
          run_id: string
          status: string
          updated_at: string
          variance_pct: number
          variance_tokens: number
        }
        SetofOptions: {
          from: "*"
          to: "token_reconciliations"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      dispute_reconciliation: {
        Args: { p_notes?: string; p_org_id?: string; p_run_id: string }
        Returns: {
          action: string | null
          actual_cost_usd: number
          actual_input_tokens: number
          actual_output_tokens: number
          actual_total_tokens: number
          charge_amount_usd: number
          created_at: string
          dispute_refund_usd: number | null
          estimated_cost_usd: number
          estimated_input_tokens: number
          estimated_output_tokens: number
          estimated_total_tokens: number
          id: string
          notes: string | null
          org_id: string
          refund_amount_usd: number
          resolved_at: string | null
          run_id: string
          status: string
          updated_at: string
          variance_pct: number
          variance_tokens: number
        }
        SetofOptions: {
          from: "*"
          to: "token_reconciliations"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      end_part: {
        Args: { p_id: string; p_org_id: string; p_status?: string }
        Returns: string
      }
      expire_credits: {
        Args: { p_limit?: number; p_org_id?: string }
        Returns: number
      }
      extend_run: {
        Args: {
          p_input_cost_usd?: number
          p_input_tokens?: number
          p_org_id?: string
          p_output_cost_usd?: number
          p_output_tokens?: number
          p_request_id?: string
          p_run_id: string
        }
        Returns: {
          completed_at: string | null
          cost_estimated: number | null
          cost_incurred: number | null
          created_at: string | null
          id: string | null
          input_cost_estimated: number | null
          input_tokens_estimated: number | null
          model: string | null
          name: string | null
          org_id: string | null
          output_cost_estimated: number | null
          output_tokens_estimated: number | null
          status: string | null
          tokens_estimated: number | null
          tokens_used: number | null
          updated_at: string | null
        }
        SetofOptions: {
          from: "*"
          to: "runs"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      fail_run: {
        Args: { p_cause?: string; p_org_id?: string; p_run_id: string }
        Returns: {
          action: string | null
          actual_cost_usd: number
          actual_input_tokens: number
          actual_output_tokens: number
          actual_total_tokens: number
          charge_amount_usd: number
          created_at: string
          dispute_refund_usd: number | null
          estimated_cost_usd: number
          estimated_input_tokens: number
          estimated_output_tokens: number
          estimated_total_tokens: number
          id: string
          notes: string | null
          org_id: string
          refund_amount_usd: number
          resolved_at: string | null
          run_id: string
          status: string
          updated_at: string
          variance_pct: number
          variance_tokens: number
        }
        SetofOptions: {
          from: "*"
          to: "token_reconciliations"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      get_statement: {
        Args: { p_month: string; p_org_id: string }
        Returns: Json
      }
      grant_credits: {
        Args: {
          p_amount_usd: number
          p_created_by?: string
          p_expires_at?: string
          p_idempotency_key: string
          p_kind: string
          p_model?: string
          p_org_id: string
          p_priority?: number
        }
        Returns: {
          agent_id: string | null
          amount_usd: number
          created_at: string
          created_by: string | null
          direction: string
          draw_id: string | null
          id: string
          idempotency_key: string | null
          org_id: string
          reason: string
          run_id: string | null
          task_id: string | null
          transaction_type: string
          xact_id: unknown
        }
        SetofOptions: {
          from: "*"
          to: "billing_ledger"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      purchase_credits: {
        Args: {
          p_amount_usd: number
          p_created_by?: string
          p_expires_at?: string
          p_idempotency_key: string
          p_org_id: string
        }
        Returns: {
          agent_id: string | null
          amount_usd: number
          created_at: string
          created_by: string | null
          direction: string
          draw_id: string | null
          id: string
          idempotency_key: string | null
          org_id: string
          reason: string
          run_id: string | null
          task_id: string | null
          transaction_type: string
          xact_id: unknown
        }
        SetofOptions: {
          from: "*"
          to: "billing_ledger"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      reconcile_run: {
        Args: { p_org_id?: string; p_run_id: string }
        Returns: string
      }
      record_token_call: {
        Args: {
          p_agent_id: string
          p_cost_usd: number
          p_error_code?: string
          p_error_message?: string
          p_hold_id?: string
          p_input_tokens: number
          p_is_estimated?: boolean
          p_model: string
          p_org_id?: string
          p_output_tokens: number
          p_reported_total_tokens?: number
          p_request_id?: string
          p_run_id: string
          p_step_id: string
          p_task_id: string
          p_usage?: Json
        }
        Returns: string
      }
      resolve_dispute: {
        Args: {
          p_notes?: string
          p_org_id?: string
          p_refund_usd?: number
          p_run_id: string
        }
        Returns: {
          action: string | null
          actual_cost_usd: number
          actual_input_tokens: number
          actual_output_tokens: number
          actual_total_tokens: number
          charge_amount_usd: number
          created_at: string
          dispute_refund_usd: number | null
          estimated_cost_usd: number
          estimated_input_tokens: number
          estimated_output_tokens: number
          estimated_total_tokens: number
          id: string
          notes: string | null
          org_id: string
          refund_amount_usd: number
          resolved_at: string | null
          run_id: string
          status: string
          updated_at: string
          variance_pct: number
          variance_tokens: number
        }
        SetofOptions: {
          from: "*"
          to: "token_reconciliations"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      set_low_balance: {
        Args: { p_low_balance_usd: number; p_org_id: string }
        Returns: {
          balance_usd: number
          created_at: string
          id: string
          is_low: boolean
          low_balance_usd: number | null
          movement_count: number
          org_id: string
          receivable_count: number
          reserved_usd: number
          updated_at: string
        }
        SetofOptions: {
          from: "*"
          to: "credit_balances"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      start_agent: {
        Args: { p_name: string; p_org_id?: string; p_run_id: string }
        Returns: {
          completed_at: string | null
          created_at: string
          id: string
          name: string
          org_id: string
          run_id: string
          status: string
        }
        SetofOptions: {
          from: "*"
          to: "agents"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      start_run: {
        Args: {
          p_input_cost_usd?: number
          p_input_tokens: number
          p_model?: string
          p_name?: string
          p_org_id: string
          p_output_cost_usd?: number
          p_output_tokens: number
          p_request_id?: string
          p_slots?: number
        }
        Returns: {
          completed_at: string | null
          cost_estimated: number | null
          cost_incurred: number | null
          created_at: string | null
          id: string | null
          input_cost_estimated: number | null
          input_tokens_estimated: number | null
          model: string | null
          name: string | null
          org_id: string | null
          output_cost_estimated: number | null
          output_tokens_estimated: number | null
          status: string | null
          tokens_estimated: number | null
          tokens_used: number | null
          updated_at: string | null
        }
        SetofOptions: {
          from: "*"
          to: "runs"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      start_step: {
        Args: {
          p_agent_id?: string
          p_name: string
          p_org_id?: string
          p_run_id: string
          p_task_id?: string
        }
        Returns: {
          agent_id: string | null
          completed_at: string | null
          created_at: string
          id: string
          name: string
          org_id: string
          run_id: string
          status: string
          task_id: string | null
        }
        SetofOptions: {
          from: "*"
          to: "steps"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      start_task: {
        Args: {
          p_agent_id?: string
          p_name: string
          p_org_id?: string
          p_run_id: string
        }
        Returns: {
          agent_id: string | null
          completed_at: string | null
          created_at: string
          id: string
          name: string
          org_id: string
          run_id: string
          status: string
        }
        SetofOptions: {
          from: "*"
          to: "tasks"
          isOneToOne: true
          isSetofReturn: false
        }
      }
    }
    Enums: {
      [_ in never]: never
    }
    CompositeTypes: {
      [_ in never]: never
    }
  }
  metering: {
    Tables: {
      budget_slots: {
        Row: {
          available_usd: number | null
          budget_id: string
          config_version: number
          debt_usd: number | null
          held_usd: number
          organization_id: string
          settled_usd: number
          slot: number
          window_end: string
          window_start: string
        }
        Insert: {
          available_usd?: number | null
          budget_id: string
          config_version?: number
          debt_usd?: number | null
          held_usd?: number
          organization_id: string
          settled_usd?: number
          slot: number
          window_end?: string
          window_start?: string
        }
        Update: {
          available_usd?: number | null
          budget_id?: string
          config_version?: number
          debt_usd?: number | null
          held_usd?: number
          organization_id?: string
          settled_usd?: number
          slot?: number
          window_end?: string
          window_start?: string
        }
        Relationships: [
          {
            foreignKeyName: "budget_slots_organization_id_budget_id_fkey"
            columns: ["organization_id", "budget_id"]
            referencedRelation: "budget_status"
            referencedColumns: ["organization_id", "budget_id"]
          },
          {
            foreignKeyName: "budget_slots_organization_id_budget_id_fkey"
            columns: ["organization_id", "budget_id"]
            referencedRelation: "budgets"
            referencedColumns: ["organization_id", "id"]
          },
        ]
      }
      budgets: {
        Row: {
          approval_above_usd: number | null
          created_at: string
          draw_day: string | null
          enforcement: string
          excess_usd: number
          frozen_at: string | null
          id: string
          is_funded: boolean
          limit_usd: number | null
          only_model: string | null
          organization_id: string
          prepaid_since: string | null
          scope: string
          scope_id: string
          scope_key: string
          slot_count: number
          time_window: string
          time_zone: string | null
          updated_at: string
        }
        Insert: {
          approval_above_usd?: number | null
          created_at?: string
          draw_day?: string | null
          enforcement?: string
          excess_usd?: number
          frozen_at?: string | null
          id?: string
          is_funded?: boolean
          limit_usd?: number | null
          only_model?: string | null
          organization_id: string
          prepaid_since?: string | null
          scope: string
          scope_id?: string
          scope_key?: never
          slot_count?: number
          time_window: string
          time_zone?: string | null
          updated_at?: string
        }
        Update: {
          approval_above_usd?: number | null
          created_at?: string
          draw_day?: string | null
          enforcement?: string
          excess_usd?: number
          frozen_at?: string | null
          id?: string
          is_funded?: boolean
          limit_usd?: number | null
          only_model?: string | null
          organization_id?: string
          prepaid_since?: string | null
          scope?: string
          scope_id?: string
          scope_key?: never
          slot_count?: number
          time_window?: string
          time_zone?: string | null
          updated_at?: string
        }
        Relationships: []
      }
      holds: {
        Row: {
          api_key_id: string | null
          budget_ids: string[]
          claimed_at: string | null
          closed_at: string | null
          config_version: number
          created_at: string
          day: string
          expires_at: string
          held_usd: number
          id: string
          listed_model: string | null
          markup_id: string | null
          model: string
          organization_id: string
          price_id: string | null
          proposal_id: string | null
          provider: string | null
          reason: string | null
          run_id: string | null
          service_tier: string | null
          slots: number[]
          state: Database["metering"]["Enums"]["hold_state"]
          tags: NonNullable<Json>
          user_id: string | null
          venture_id: string | null
          workflow_id: string | null
        }
        Insert: {
          api_key_id?: string | null
          budget_ids: string[]
          claimed_at?: string | null
          closed_at?: string | null
          config_version: number
          created_at: string
          day: string
          expires_at: string
          held_usd: number
          id: string
          listed_model?: string | null
          markup_id?: string | null
          model: string
          organization_id: string
          price_id?: string | null
          proposal_id?: string | null
          provider?: string | null
          reason?: string | null
          run_id?: string | null
          service_tier?: string | null
          slots: number[]
          state?: Database["metering"]["Enums"]["hold_state"]
          tags?: NonNullable<Json>
          user_id?: string | null
          venture_id?: string | null
          workflow_id?: string | null
        }
        Update: {
          api_key_id?: string | null
          budget_ids?: string[]
          claimed_at?: string | null
          closed_at?: string | null
          config_version?: number
          created_at?: string
          day?: string
          expires_at?: string
          held_usd?: number
          id?: string
          listed_model?: string | null
          markup_id?: string | null
          model?: string
          organization_id?: string
          price_id?: string | null
          proposal_id?: string | null
          provider?: string | null
          reason?: string | null
          run_id?: string | null
          service_tier?: string | null
          slots?: number[]
          state?: Database["metering"]["Enums"]["hold_state"]
          tags?: NonNullable<Json>
          user_id?: string | null
          venture_id?: string | null
          workflow_id?: string | null
        }
        Relationships: []
      }
      request_keys: {
        Row: {
          content_hash: string
          created_at: string
          operation: Database["metering"]["Enums"]["operation"]
          organization_id: string
          request_id: string
          subject_id: string
        }
        Insert: {
          content_hash: string
          created_at?: string
          operation: Database["metering"]["Enums"]["operation"]
          organization_id: string
          request_id: string
          subject_id: string
        }
        Update: {
          content_hash?: string
          created_at?: string
          operation?: Database["metering"]["Enums"]["operation"]
          organization_id?: string
          request_id?: string
          subject_id?: string
        }
        Relationships: []
      }
      usage_rollups: {
        Row: {
          completion_tokens: number
          cost: number
          day: string
          model: string
          organization_id: string
          prompt_tokens: number
          requests: number
          scope: string
          scope_id: string
          slot: number
        }
        Insert: {
          completion_tokens: number
          cost: number
          day: string
          model: string
          organization_id: string
          prompt_tokens: number
          requests: number
          scope: string
          scope_id: string
          slot: number
        }
        Update: {
          completion_tokens?: number
          cost?: number
          day?: string
          model?: string
          organization_id?: string
          prompt_tokens?: number
          requests?: number
          scope?: string
          scope_id?: string
          slot?: number
        }
        Relationships: []
      }
      venture_allocations: {
        Row: {
          created_at: string
          custom_pct: number | null
          deep_due_diligence_pct: number | null
          exploratory_pct: number | null
          organization_id: string
          standard_pct: number | null
          updated_at: string
          venture_id: string
        }
        Insert: {
          created_at?: string
          custom_pct?: number | null
          deep_due_diligence_pct?: number | null
          exploratory_pct?: number | null
          organization_id: string
          standard_pct?: number | null
          updated_at?: string
          venture_id: string
        }
        Update: {
          created_at?: string
          custom_pct?: number | null
          deep_due_diligence_pct?: number | null
          exploratory_pct?: number | null
          organization_id?: string
          standard_pct?: number | null
          updated_at?: string
          venture_id?: string
        }
        Relationships: []
      }
      workflows: {
        Row: {
          created_at: string
          id: string
          organization_id: string
          updated_at: string
          workflow_data: NonNullable<Json>
        }
        Insert: {
          created_at?: string
          id?: string
          organization_id: string
          updated_at?: string
          workflow_data?: NonNullable<Json>
        }
        Update: {
          created_at?: string
          id?: string
          organization_id?: string
          updated_at?: string
          workflow_data?: NonNullable<Json>
        }
        Relationships: []
      }
    }
    Views: {
      budget_status: {
        Row: {
          budget_id: string | null
          enforcement: string | null
          frozen_at: string | null
          held_usd: number | null
          limit_usd: number | null
          organization_id: string | null
          remaining_usd: number | null
          resets_at: string | null
          scope: string | null
          scope_id: string | null
          settled_usd: number | null
          slot_count: number | null
          time_window: string | null
          window_start: string | null
        }
        Relationships: []
      }
      spend_by_day: {
        Row: {
          completion_tokens: number | null
          cost: number | null
          day: string | null
          organization_id: string | null
          prompt_tokens: number | null
          requests: number | null
        }
        Relationships: []
      }
      spend_by_model: {
        Row: {
          completion_tokens: number | null
          cost: number | null
          day: string | null
          model: string | null
          organization_id: string | null
          prompt_tokens: number | null
          requests: number | null
        }
        Relationships: []
      }
      spend_by_tag: {
        Row: {
          completion_tokens: number | null
          cost: number | null
          day: string | null
          organization_id: string | null
          prompt_tokens: number | null
          requests: number | null
          tag: string | null
        }
        Relationships: []
      }
      spend_by_user: {
        Row: {
          completion_tokens: number | null
          cost: number | null
          day: string | null
          organization_id: string | null
          prompt_tokens: number | null
          requests: number | null
          user_id: string | null
        }
        Relationships: []
      }
      spend_by_workflow: {
        Row: {
          completion_tokens: number | null
          cost: number | null
          day: string | null
          organization_id: string | null
          prompt_tokens: number | null
          requests: number | null
          workflow_id: string | null
        }
        Relationships: []
      }
      venture_profile_status: {
        Row: {
          allocation_pct: number | null
          budget_id: string | null
          budget_profile: string | null
          enforcement: string | null
          held_usd: number | null
          limit_usd: number | null
          organization_id: string | null
          remaining_usd: number | null
          resets_at: string | null
          settled_usd: number | null
          time_window: string | null
          venture_id: string | null
        }
        Relationships: []
      }
      venture_profiles: {
        Row: {
          allocation_pct: number | null
          budget_profile: string | null
          organization_id: string | null
          venture_id: string | null
        }
        Relationships: []
      }
      venture_spend: {
        Row: {
          agent_type: string | null
          cost_usd: number | null
          lifecycle_stage: number | null
          organization_id: string | null
          phase: string | null
          requests: number | null
          simulated_cost_usd: number | null
          simulated_requests: number | null
          simulated_tokens_input: number | null
          simulated_tokens_output: number | null
          simulated_tokens_total: number | null
          tokens_input: number | null
          tokens_output: number | null
          tokens_total: number | null
          venture_id: string | null
        }
        Relationships: []
      }
      venture_spend_by_agent: {
        Row: {
          agent_type: string | null
          cost_usd: number | null
          organization_id: string | null
          requests: number | null
          simulated_cost_usd: number | null
          simulated_requests: number | null
          simulated_tokens_input: number | null
          simulated_tokens_output: number | null
          simulated_tokens_total: number | null
          tokens_input: number | null
          tokens_output: number | null
          tokens_total: number | null
          venture_id: string | null
        }
        Relationships: []
      }
      venture_spend_by_phase: {
        Row: {
          cost_usd: number | null
          organization_id: string | null
          phase: string | null
          requests: number | null
          simulated_cost_usd: number | null
          simulated_requests: number | null
          simulated_tokens_input: number | null
          simulated_tokens_output: number | null
          simulated_tokens_total: number | null
          tokens_input: number | null
          tokens_output: number | null
          tokens_total: number | null
          venture_id: string | null
        }
        Relationships: []
      }
      venture_spend_by_stage: {
        Row: {
          cost_usd: number | null
          lifecycle_stage: number | null
          organization_id: string | null
          requests: number | null
          simulated_cost_usd: number | null
          simulated_requests: number | null
          simulated_tokens_input: number | null
          simulated_tokens_output: number | null
          simulated_tokens_total: number | null
          tokens_input: number | null
          tokens_output: number | null
          tokens_total: number | null
          venture_id: string | null
        }
        Relationships: []
      }
      venture_spend_total: {
        Row: {
          cost_usd: number | null
          organization_id: string | null
          requests: number | null
          simulated_cost_usd: number | null
          simulated_requests: number | null
          simulated_tokens_input: number | null
          simulated_tokens_output: number | null
          simulated_tokens_total: number | null
          tokens_input: number | null
          tokens_output: number | null
          tokens_total: number | null
          venture_id: string | null
        }
        Relationships: []
      }
    }
    Functions: {
      allocate_venture_budget: {
        Args: {
          p_budget_profile: string
          p_organization_id: string
          p_percent: number
          p_venture_id: string
        }
        Returns: {
          created_at: string
          custom_pct: number | null
          deep_due_diligence_pct: number | null
          exploratory_pct: number | null
          organization_id: string
          standard_pct: number | null
          updated_at: string
          venture_id: string
        }
        SetofOptions: {
          from: "*"
          to: "venture_allocations"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      change_budget: {
        Args: {
          p_budget_id: string
          p_organization_id: string
          p_scope?: string
          p_scope_id?: string
          p_slots?: number
          p_window?: string
        }
        Returns: {
          approval_above_usd: number | null
          created_at: string
          draw_day: string | null
          enforcement: string
          excess_usd: number
          frozen_at: string | null
          id: string
          is_funded: boolean
          limit_usd: number | null
          only_model: string | null
          organization_id: string
          prepaid_since: string | null
          scope: string
          scope_id: string
          scope_key: string
          slot_count: number
          time_window: string
          time_zone: string | null
          updated_at: string
        }
        SetofOptions: {
          from: "*"
          to: "budgets"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      expire_holds: {
        Args: { p_limit?: number; p_organization_id?: string }
        Returns: number
      }
      freeze: {
        Args: {
          p_organization_id: string
          p_scope?: string
          p_scope_id?: string
        }
        Returns: {
          approval_above_usd: number | null
          created_at: string
          draw_day: string | null
          enforcement: string
          excess_usd: number
          frozen_at: string | null
          id: string
          is_funded: boolean
          limit_usd: number | null
          only_model: string | null
          organization_id: string
          prepaid_since: string | null
          scope: string
          scope_id: string
          scope_key: string
          slot_count: number
          time_window: string
          time_zone: string | null
          updated_at: string
        }
        SetofOptions: {
          from: "*"
          to: "budgets"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      remove_budget: {
        Args: {
          p_organization_id: string
          p_scope: string
          p_scope_id: string
          p_window: string
        }
        Returns: {
          approval_above_usd: number | null
          created_at: string
          draw_day: string | null
          enforcement: string
          excess_usd: number
          frozen_at: string | null
          id: string
          is_funded: boolean
          limit_usd: number | null
          only_model: string | null
          organization_id: string
          prepaid_since: string | null
          scope: string
          scope_id: string
          scope_key: string
          slot_count: number
          time_window: string
          time_zone: string | null
          updated_at: string
        }
        SetofOptions: {
          from: "*"
          to: "budgets"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      set_budget: {
        Args: {
          p_enforcement?: string
          p_limit: number
          p_organization_id: string
          p_scope: string
          p_scope_id: string
          p_slots?: number
          p_window: string
        }
        Returns: {
          approval_above_usd: number | null
          created_at: string
          draw_day: string | null
          enforcement: string
          excess_usd: number
          frozen_at: string | null
          id: string
          is_funded: boolean
          limit_usd: number | null
          only_model: string | null
          organization_id: string
          prepaid_since: string | null
          scope: string
          scope_id: string
          scope_key: string
          slot_count: number
          time_window: string
          time_zone: string | null
          updated_at: string
        }
        SetofOptions: {
          from: "*"
          to: "budgets"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      unfreeze: {
        Args: {
          p_organization_id: string
          p_scope?: string
          p_scope_id?: string
        }
        Returns: {
          approval_above_usd: number | null
          created_at: string
          draw_day: string | null
          enforcement: string
          excess_usd: number
          frozen_at: string | null
          id: string
          is_funded: boolean
          limit_usd: number | null
          only_model: string | null
          organization_id: string
          prepaid_since: string | null
          scope: string
          scope_id: string
          scope_key: string
          slot_count: number
          time_window: string
          time_zone: string | null
          updated_at: string
        }
        SetofOptions: {
          from: "*"
          to: "budgets"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      waiting_budgets: {
        Args: Record<PropertyKey, never>
        Returns: Database["metering"]["CompositeTypes"]["waiting_budget"][]
        SetofOptions: {
          from: "*"
          to: "waiting_budget"
          isOneToOne: false
          isSetofReturn: true
        }
      }
    }
    Enums: {
      cost_basis: "priced" | "stated" | "estimated"
      hold_state: "open" | "released" | "expired"
      operation:
        | "authorize"
        | "extend"
        | "settle"
        | "record"
        | "start_run"
        | "extend_run"
      settlement: "on_hold" | "after_hold" | "without_hold"
      zero_cost_reason:
        | "stated"
        | "free_model"
        | "full_discount"
        | "below_precision"
    }
    CompositeTypes: {
      authorized_item: {
        item: number | null
        decision: string | null
        hold_id: string | null
        usage_id: string | null
        held_usd: string | null
        reason: string | null
        budget_id: string | null
        remaining_usd: string | null
        resets_at: string | null
        affordable_output_tokens: number | null
        expires_at: string | null
        proposal_id: string | null
        error_code: string | null
        error_detail: Json | null
      }
      settled_item: {
        item: number | null
        usage_id: string | null
        cost: string | null
        settlement: string | null
        unheld_usd: string | null
        error_code: string | null
        error_detail: Json | null
      }
      spend_decision: {
        decision: string | null
        hold_id: string | null
        usage_id: string | null
        held_usd: string | null
        reason: string | null
        budget_id: string | null
        remaining_usd: string | null
        resets_at: string | null
        affordable_output_tokens: number | null
        expires_at: string | null
        proposal_id: string | null
      }
      waiting_budget: {
        organization_id: string | null
        budget_id: string | null
        scope: string | null
        scope_id: string | null
        time_window: string | null
        slot_count: number | null
        waiting: number | null
      }
    }
  }
  pricing: {
    Tables: {
      contract_prices: {
        Row: {
          created_at: string
          effective_from: string
          id: string
          model: string
          organization_id: string
          provider: string
          rates: Json | null
          revision: number
          service_tier: string
        }
        Insert: {
          created_at?: string
          effective_from: string
          id?: string
          model: string
          organization_id: string
          provider: string
          rates?: Json | null
          revision: number
          service_tier: string
        }
        Update: {
          created_at?: string
          effective_from?: string
          id?: string
          model?: string
          organization_id?: string
          provider?: string
          rates?: Json | null
          revision?: number
          service_tier?: string
        }
        Relationships: [
          {
            foreignKeyName: "contract_prices_provider_model_fkey"
            columns: ["provider", "model"]
            referencedRelation: "models"
            referencedColumns: ["provider", "id"]
          },
        ]
      }
      markups: {
        Row: {
          created_at: string
          effective_from: string
          id: string
          model: string
          organization_id: string
          percent: number | null
          provider: string
          revision: number
        }
        Insert: {
          created_at?: string
          effective_from: string
          id?: string
          model?: string
          organization_id: string
          percent?: number | null
          provider?: string
          revision: number
        }
        Update: {
          created_at?: string
          effective_from?: string
          id?: string
          model?: string
          organization_id?: string
          percent?: number | null
          provider?: string
          revision?: number
        }
        Relationships: []
      }
      model_names: {
        Row: {
          is_default: boolean
          match: Database["pricing"]["Enums"]["name_match"]
          model: string
          model_provider: string
          name: string
          provider: string
          rank: number
          source: string
        }
        Insert: {
          is_default: boolean
          match: Database["pricing"]["Enums"]["name_match"]
          model: string
          model_provider: string
          name: string
          provider: string
          rank: number
          source: string
        }
        Update: {
          is_default?: boolean
          match?: Database["pricing"]["Enums"]["name_match"]
          model?: string
          model_provider?: string
          name?: string
          provider?: string
          rank?: number
          source?: string
        }
        Relationships: [
          {
            foreignKeyName: "model_names_model_provider_model_fkey"
            columns: ["model_provider", "model"]
            referencedRelation: "models"
            referencedColumns: ["provider", "id"]
          },
          {
            foreignKeyName: "model_names_provider_fkey"
            columns: ["provider"]
            referencedRelation: "providers"
            referencedColumns: ["id"]
          },
        ]
      }
      models: {
        Row: {
          id: string
          provider: string
        }
        Insert: {
          id: string
          provider: string
        }
        Update: {
          id?: string
          provider?: string
        }
        Relationships: [
          {
            foreignKeyName: "models_provider_fkey"
            columns: ["provider"]
            referencedRelation: "providers"
            referencedColumns: ["id"]
          },
        ]
      }
      price_lists: {
        Row: {
          checked_at: string
          max_age: string | null
          source: string
          version: string | null
        }
        Insert: {
          checked_at: string
          max_age?: string | null
          source: string
          version?: string | null
        }
        Update: {
          checked_at?: string
          max_age?: string | null
          source?: string
          version?: string | null
        }
        Relationships: []
      }
      prices: {
        Row: {
          created_at: string
          effective_from: string
          id: string
          model: string
          provider: string
          rates: Json | null
          revision: number
          service_tier: string
          source: string
        }
        Insert: {
          created_at?: string
          effective_from: string
          id?: string
          model: string
          provider: string
          rates?: Json | null
          revision: number
          service_tier: string
          source: string
        }
        Update: {
          created_at?: string
          effective_from?: string
          id?: string
          model?: string
          provider?: string
          rates?: Json | null
          revision?: number
          service_tier?: string
          source?: string
        }
        Relationships: [
          {
            foreignKeyName: "prices_provider_model_fkey"
            columns: ["provider", "model"]
            referencedRelation: "models"
            referencedColumns: ["provider", "id"]
          },
          {
            foreignKeyName: "prices_source_fkey"
            columns: ["source"]
            referencedRelation: "price_lists"
            referencedColumns: ["source"]
          },
        ]
      }
      provider_names: {
        Row: {
          name: string
          provider: string
          source: string
        }
        Insert: {
          name: string
          provider: string
          source: string
        }
        Update: {
          name?: string
          provider?: string
          source?: string
        }
        Relationships: [
          {
            foreignKeyName: "provider_names_provider_fkey"
            columns: ["provider"]
            referencedRelation: "providers"
            referencedColumns: ["id"]
          },
        ]
      }
      providers: {
        Row: {
          id: string
          name: string
        }
        Insert: {
          id: string
          name: string
        }
        Update: {
          id?: string
          name?: string
        }
        Relationships: []
      }
    }
    Views: {
      current_prices: {
        Row: {
          effective_from: string | null
          id: string | null
          is_stale: boolean | null
          model: string | null
          organization_id: string | null
          provider: string | null
          rates: Json | null
          service_tier: string | null
          source: string | null
          version: string | null
        }
        Relationships: []
      }
      price_history: {
        Row: {
          created_at: string | null
          effective_from: string | null
          effective_until: string | null
          id: string | null
          model: string | null
          organization_id: string | null
          provider: string | null
          rates: Json | null
          revision: number | null
          service_tier: string | null
          source: string | null
        }
        Relationships: []
      }
    }
    Functions: {
      load_prices: {
        Args: {
          p_list: Json
          p_max_age?: string
          p_source: string
          p_version: string
        }
        Returns: Database["pricing"]["CompositeTypes"]["price_change"][]
        SetofOptions: {
          from: "*"
          to: "price_change"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      price_usage: {
        Args: {
          p_at?: string
          p_model: string
          p_organization_id?: string
          p_provider?: string
          p_service_tier?: string
          p_usage: Json
        }
        Returns: Database["pricing"]["CompositeTypes"]["priced_usage"]
        SetofOptions: {
          from: "*"
          to: "priced_usage"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      set_markup: {
        Args: {
          p_effective_from?: string
          p_model?: string
          p_organization_id: string
          p_percent: number
          p_provider?: string
        }
        Returns: {
          created_at: string
          effective_from: string
          id: string
          model: string
          organization_id: string
          percent: number | null
          provider: string
          revision: number
        }
        SetofOptions: {
          from: "*"
          to: "markups"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      set_model_name: {
        Args: {
          p_match?: string
          p_model: string
          p_model_provider?: string
          p_name: string
          p_provider: string
        }
        Returns: {
          is_default: boolean
          match: Database["pricing"]["Enums"]["name_match"]
          model: string
          model_provider: string
          name: string
          provider: string
          rank: number
          source: string
        }
        SetofOptions: {
          from: "*"
          to: "model_names"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      set_price: {
        Args: {
          p_effective_from?: string
          p_model: string
          p_organization_id?: string
          p_provider: string
          p_rates: Json
          p_service_tier?: string
        }
        Returns: Database["pricing"]["CompositeTypes"]["price"]
        SetofOptions: {
          from: "*"
          to: "price"
          isOneToOne: true
          isSetofReturn: false
        }
      }
    }
    Enums: {
      name_match: "exact" | "prefix" | "suffix" | "contains" | "regex"
      token_class:
        | "input_tokens"
        | "cache_read_tokens"
        | "cache_write_5m_tokens"
        | "cache_write_1h_tokens"
        | "input_audio_tokens"
        | "cache_read_audio_tokens"
        | "input_image_tokens"
        | "cache_read_image_tokens"
        | "output_tokens"
        | "reasoning_tokens"
        | "output_audio_tokens"
        | "output_image_tokens"
        | "requests"
        | "web_searches"
        | "file_searches"
    }
    CompositeTypes: {
      price: {
        id: string | null
        organization_id: string | null
        provider: string | null
        model: string | null
        service_tier: string | null
        effective_from: string | null
        revision: number | null
        rates: Json | null
        source: string | null
        created_at: string | null
      }
      price_change: {
        change: string | null
        provider: string | null
        model: string | null
        service_tier: string | null
        effective_from: string | null
        old_rates: Json | null
        new_rates: Json | null
      }
      priced_usage: {
        cost: string | null
        price_id: string | null
        markup_id: string | null
        provider: string | null
        model: string | null
        service_tier: string | null
        effective_from: string | null
        above_input_tokens: number | null
        prompt_tokens: number | null
        completion_tokens: number | null
        breakdown: Json | null
      }
    }
  }
  public: {
    Tables: {
      ai_usage_ledger: {
        Row: {
          api_key_id: string | null
          completion_tokens: number
          cost: number
          cost_basis: Database["metering"]["Enums"]["cost_basis"]
          created_at: string
          id: string
          listed_model: string | null
          markup_id: string | null
          model: string
          organization_id: string
          price_id: string | null
          prompt_tokens: number
          provider: string | null
          rates: Json | null
          run_id: string | null
          service_tier: string | null
          settled_at: string
          settlement: Database["metering"]["Enums"]["settlement"]
          tags: NonNullable<Json>
          token_counts: NonNullable<Json>
          unheld_usd: number
          user_id: string | null
          venture_id: string | null
          workflow_id: string | null
          xact_id: unknown
          zero_cost_reason:
            | Database["metering"]["Enums"]["zero_cost_reason"]
            | null
        }
        Insert: {
          api_key_id?: string | null
          completion_tokens: number
          cost: number
          cost_basis: Database["metering"]["Enums"]["cost_basis"]
          created_at: string
          id: string
          listed_model?: string | null
          markup_id?: string | null
          model: string
          organization_id: string
          price_id?: string | null
          prompt_tokens: number
          provider?: string | null
          rates?: Json | null
          run_id?: string | null
          service_tier?: string | null
          settled_at: string
          settlement: Database["metering"]["Enums"]["settlement"]
          tags?: NonNullable<Json>
          token_counts: NonNullable<Json>
          unheld_usd: number
          user_id?: string | null
          venture_id?: string | null
          workflow_id?: string | null
          xact_id?: unknown
          zero_cost_reason?:
            | Database["metering"]["Enums"]["zero_cost_reason"]
            | null
        }
        Update: {
          api_key_id?: string | null
          completion_tokens?: number
          cost?: number
          cost_basis?: Database["metering"]["Enums"]["cost_basis"]
          created_at?: string
          id?: string
          listed_model?: string | null
          markup_id?: string | null
          model?: string
          organization_id?: string
          price_id?: string | null
          prompt_tokens?: number
          provider?: string | null
          rates?: Json | null
          run_id?: string | null
          service_tier?: string | null
          settled_at?: string
          settlement?: Database["metering"]["Enums"]["settlement"]
          tags?: NonNullable<Json>
          token_counts?: NonNullable<Json>
          unheld_usd?: number
          user_id?: string | null
          venture_id?: string | null
          workflow_id?: string | null
          xact_id?: unknown
          zero_cost_reason?:
            | Database["metering"]["Enums"]["zero_cost_reason"]
            | null
        }
        Relationships: []
      }
      ledger_audience_v0: {
        Row: {
          audience_user_id: string
          expires_at: string | null
          granted_at: string
          granted_by: string
          logical_id: string
          organization_id: string
        }
        Insert: {
          audience_user_id: string
          expires_at?: string | null
          granted_at?: string
          granted_by: string
          logical_id: string
          organization_id: string
        }
        Update: {
          audience_user_id?: string
          expires_at?: string | null
          granted_at?: string
          granted_by?: string
          logical_id?: string
          organization_id?: string
        }
        Relationships: [
          {
            foreignKeyName: "ledger_audience_v0_event_fkey"
            columns: ["organization_id", "logical_id"]
            referencedRelation: "ledger_current_admin_exports_v0"
            referencedColumns: ["organization_id", "logical_id"]
          },
          {
            foreignKeyName: "ledger_audience_v0_event_fkey"
            columns: ["organization_id", "logical_id"]
            referencedRelation: "ledger_current_devices_v0"
            referencedColumns: ["organization_id", "logical_id"]
          },
          {
            foreignKeyName: "ledger_audience_v0_event_fkey"
            columns: ["organization_id", "logical_id"]
            referencedRelation: "ledger_current_expertise_v0"
            referencedColumns: ["organization_id", "logical_id"]
          },
          {
            foreignKeyName: "ledger_audience_v0_event_fkey"
            columns: ["organization_id", "logical_id"]
            referencedRelation: "ledger_current_geo_v0"
            referencedColumns: ["organization_id", "logical_id"]
          },
          {
            foreignKeyName: "ledger_audience_v0_event_fkey"
            columns: ["organization_id", "logical_id"]
            referencedRelation: "ledger_current_models_v0"
            referencedColumns: ["organization_id", "logical_id"]
          },
          {
            foreignKeyName: "ledger_audience_v0_event_fkey"
            columns: ["organization_id", "logical_id"]
            referencedRelation: "ledger_current_moderation_v0"
            referencedColumns: ["organization_id", "logical_id"]
          },
          {
            foreignKeyName: "ledger_audience_v0_event_fkey"
            columns: ["organization_id", "logical_id"]
            referencedRelation: "ledger_current_payments_v0"
            referencedColumns: ["organization_id", "logical_id"]
          },
          {
            foreignKeyName: "ledger_audience_v0_event_fkey"
            columns: ["organization_id", "logical_id"]
            referencedRelation: "ledger_current_security_v0"
            referencedColumns: ["organization_id", "logical_id"]
          },
          {
            foreignKeyName: "ledger_audience_v0_event_fkey"
            columns: ["organization_id", "logical_id"]
            referencedRelation: "ledger_current_v0"
            referencedColumns: ["organization_id", "logical_id"]
          },
          {
            foreignKeyName: "ledger_audience_v0_event_fkey"
            columns: ["organization_id", "logical_id"]
            referencedRelation: "ledger_current_verification_v0"
            referencedColumns: ["organization_id", "logical_id"]
          },
        ]
      }
      ledger_events_v0: {
        Row: {
          city_code: string | null
          country_code: string | null
          created_at: string
          domain: string
          entity_id: string | null
          entity_type: string | null
          event_type: string
          id: string
          locality_code: string | null
          logical_id: string
          occurred_at: string
          op: string
          organization_id: string
          owner_agent_id: string | null
          owner_user_id: string
          payload: NonNullable<Json>
          region_code: string | null
          revision: number
          supersedes_id: string | null
          xact_id: unknown
        }
        Insert: {
          city_code?: string | null
          country_code?: string | null
          created_at?: string
          domain: string
          entity_id?: string | null
          entity_type?: string | null
          event_type: string
          id?: string
          locality_code?: string | null
          logical_id?: string
          occurred_at?: string
          op?: string
          organization_id: string
          owner_agent_id?: string | null
          owner_user_id?: string
          payload?: NonNullable<Json>
          region_code?: string | null
          revision?: number
          supersedes_id?: string | null
          xact_id?: unknown
        }
        Update: {
          city_code?: string | null
          country_code?: string | null
          created_at?: string
          domain?: string
          entity_id?: string | null
          entity_type?: string | null
          event_type?: string
          id?: string
          locality_code?: string | null
          logical_id?: string
          occurred_at?: string
          op?: string
          organization_id?: string
          owner_agent_id?: string | null
          owner_user_id?: string
          payload?: NonNullable<Json>
          region_code?: string | null
          revision?: number
          supersedes_id?: string | null
          xact_id?: unknown
        }
        Relationships: [
          {
            foreignKeyName: "ledger_events_v0_supersedes_fkey"
            columns: ["organization_id", "supersedes_id"]
            referencedRelation: "ledger_events_v0"
            referencedColumns: ["organization_id", "id"]
          },
        ]
      }
      venture_token_ledger: {
        Row: {
          agent_type: string
          budget_allocation_pct: number | null
          budget_profile: string | null
          cost_usd: number | null
          created_at: string
          created_by: string | null
          crew_id: string | null
          id: string
          is_simulation: boolean | null
          job_id: string | null
          lifecycle_stage: number
          metadata: Json | null
          model_id: string | null
          operation_type: string | null
          organization_id: string
          phase: string | null
          simulation_run_id: string | null
          tokens_input: number
          tokens_output: number
          tokens_total: number | null
          usage_id: string | null
          venture_id: string
          xact_id: unknown
        }
        Insert: {
          agent_type: string
          budget_allocation_pct?: number | null
          budget_profile?: string | null
          cost_usd?: number | null
          created_at?: string
          created_by?: string | null
          crew_id?: string | null
          id?: string
          is_simulation?: boolean | null
          job_id?: string | null
          lifecycle_stage: number
          metadata?: Json | null
          model_id?: string | null
          operation_type?: string | null
          organization_id: string
          phase?: string | null
          simulation_run_id?: string | null
          tokens_input?: number
          tokens_output?: number
          tokens_total?: number | null
          usage_id?: string | null
          venture_id: string
          xact_id?: unknown
        }
        Update: {
          agent_type?: string
          budget_allocation_pct?: number | null
          budget_profile?: string | null
          cost_usd?: number | null
          created_at?: string
          created_by?: string | null
          crew_id?: string | null
          id?: string
          is_simulation?: boolean | null
          job_id?: string | null
          lifecycle_stage?: number
          metadata?: Json | null
          model_id?: string | null
          operation_type?: string | null
          organization_id?: string
          phase?: string | null
          simulation_run_id?: string | null
          tokens_input?: number
          tokens_output?: number
          tokens_total?: number | null
          usage_id?: string | null
          venture_id?: string
          xact_id?: unknown
        }
        Relationships: []
      }
    }
    Views: {
      ai_cost_by_model: {
        Row: {
          avg_cost: number | null
          model: string | null
          organization_id: string | null
          total_cost: number | null
          total_tokens: number | null
        }
        Relationships: []
      }
      ai_cost_by_organization_month: {
        Row: {
          month: string | null
          monthly_cost: number | null
          organization_id: string | null
          request_count: number | null
        }
        Relationships: []
      }
      ai_cost_by_workflow: {
        Row: {
          model: string | null
          organization_id: string | null
          request_count: number | null
          total_cost: number | null
          workflow_id: string | null
        }
        Relationships: []
      }
      intent_workflows: {
        Row: {
          created_at: string | null
          id: string | null
          organization_id: string | null
          updated_at: string | null
          workflow_data: Json | null
        }
        Insert: {
          created_at?: string | null
          id?: string | null
          organization_id?: string | null
          updated_at?: string | null
          workflow_data?: Json | null
        }
        Update: {
          created_at?: string | null
          id?: string | null
          organization_id?: string | null
          updated_at?: string | null
          workflow_data?: Json | null
        }
        Relationships: []
      }
      ledger_current_admin_exports_v0: {
        Row: {
          city_code: string | null
          country_code: string | null
          created_at: string | null
          domain: string | null
          entity_id: string | null
          entity_type: string | null
          event_type: string | null
          id: string | null
          locality_code: string | null
          logical_id: string | null
          occurred_at: string | null
          op: string | null
          organization_id: string | null
          owner_agent_id: string | null
          owner_user_id: string | null
          payload: Json | null
          region_code: string | null
          revision: number | null
          supersedes_id: string | null
        }
        Relationships: []
      }
      ledger_current_devices_v0: {
        Row: {
          city_code: string | null
          country_code: string | null
          created_at: string | null
          domain: string | null
          entity_id: string | null
          entity_type: string | null
          event_type: string | null
          id: string | null
          locality_code: string | null
          logical_id: string | null
          occurred_at: string | null
          op: string | null
          organization_id: string | null
          owner_agent_id: string | null
          owner_user_id: string | null
          payload: Json | null
          region_code: string | null
          revision: number | null
          supersedes_id: string | null
        }
        Relationships: []
      }
      ledger_current_expertise_v0: {
        Row: {
          city_code: string | null
          country_code: string | null
          created_at: string | null
          domain: string | null
          entity_id: string | null
          entity_type: string | null
          event_type: string | null
          id: string | null
          locality_code: string | null
          logical_id: string | null
          occurred_at: string | null
          op: string | null
          organization_id: string | null
          owner_agent_id: string | null
          owner_user_id: string | null
          payload: Json | null
          region_code: string | null
          revision: number | null
          supersedes_id: string | null
        }
        Relationships: []
      }
      ledger_current_geo_v0: {
        Row: {
          city_code: string | null
          country_code: string | null
          created_at: string | null
          domain: string | null
          entity_id: string | null
          entity_type: string | null
          event_type: string | null
          id: string | null
          locality_code: string | null
          logical_id: string | null
          occurred_at: string | null
          op: string | null
          organization_id: string | null
          owner_agent_id: string | null
          owner_user_id: string | null
          payload: Json | null
          region_code: string | null
          revision: number | null
          supersedes_id: string | null
        }
        Relationships: []
      }
      ledger_current_models_v0: {
        Row: {
          city_code: string | null
          country_code: string | null
          created_at: string | null
          domain: string | null
          entity_id: string | null
          entity_type: string | null
          event_type: string | null
          id: string | null
          locality_code: string | null
          logical_id: string | null
          occurred_at: string | null
          op: string | null
          organization_id: string | null
          owner_agent_id: string | null
          owner_user_id: string | null
          payload: Json | null
          region_code: string | null
          revision: number | null
          supersedes_id: string | null
        }
        Relationships: []
      }
      ledger_current_moderation_v0: {
        Row: {
          city_code: string | null
          country_code: string | null
          created_at: string | null
          domain: string | null
          entity_id: string | null
          entity_type: string | null
          event_type: string | null
          id: string | null
          locality_code: string | null
          logical_id: string | null
          occurred_at: string | null
          op: string | null
          organization_id: string | null
          owner_agent_id: string | null
          owner_user_id: string | null
          payload: Json | null
          region_code: string | null
          revision: number | null
          supersedes_id: string | null
        }
        Relationships: []
      }
      ledger_current_payments_v0: {
        Row: {
          city_code: string | null
          country_code: string | null
          created_at: string | null
          domain: string | null
          entity_id: string | null
          entity_type: string | null
          event_type: string | null
          id: string | null
          locality_code: string | null
          logical_id: string | null
          occurred_at: string | null
          op: string | null
          organization_id: string | null
          owner_agent_id: string | null
          owner_user_id: string | null
          payload: Json | null
          region_code: string | null
          revision: number | null
          supersedes_id: string | null
        }
        Relationships: []
      }
      ledger_current_security_v0: {
        Row: {
          city_code: string | null
          country_code: string | null
          created_at: string | null
          domain: string | null
          entity_id: string | null
          entity_type: string | null
          event_type: string | null
          id: string | null
          locality_code: string | null
          logical_id: string | null
          occurred_at: string | null
          op: string | null
          organization_id: string | null
          owner_agent_id: string | null
          owner_user_id: string | null
          payload: Json | null
          region_code: string | null
          revision: number | null
          supersedes_id: string | null
        }
        Relationships: []
      }
      ledger_current_v0: {
        Row: {
          city_code: string | null
          country_code: string | null
          created_at: string | null
          domain: string | null
          entity_id: string | null
          entity_type: string | null
          event_type: string | null
          id: string | null
          locality_code: string | null
          logical_id: string | null
          occurred_at: string | null
          op: string | null
          organization_id: string | null
          owner_agent_id: string | null
          owner_user_id: string | null
          payload: Json | null
          region_code: string | null
          revision: number | null
          supersedes_id: string | null
        }
        Relationships: []
      }
      ledger_current_verification_v0: {
        Row: {
          city_code: string | null
          country_code: string | null
          created_at: string | null
          domain: string | null
          entity_id: string | null
          entity_type: string | null
          event_type: string | null
          id: string | null
          locality_code: string | null
          logical_id: string | null
          occurred_at: string | null
          op: string | null
          organization_id: string | null
          owner_agent_id: string | null
          owner_user_id: string | null
          payload: Json | null
          region_code: string | null
          revision: number | null
          supersedes_id: string | null
        }
        Relationships: []
      }
      tallystick_errors: {
        Row: {
          code: string | null
          hint: string | null
          message: string | null
          name: string | null
        }
        Relationships: []
      }
    }
    Functions: {
      authorize_spend: {
        Args: {
          p_allow_partial?: boolean
          p_api_key_id?: string
          p_estimated_cost?: number
          p_expires_in?: string
          p_input_tokens?: number
          p_max_output_tokens?: number
          p_minimum?: number
          p_model?: string
          p_organization_id: string
          p_provider?: string
          p_request_id?: string
          p_run_id?: string
          p_service_tier?: string
          p_tags?: Json
          p_user_id?: string
          p_venture_id?: string
          p_workflow_id?: string
        }
        Returns: Database["metering"]["CompositeTypes"]["spend_decision"]
        SetofOptions: {
          from: "*"
          to: "spend_decision"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      authorize_spend_batch: {
        Args: { p_items: Json; p_organization_id: string }
        Returns: Database["metering"]["CompositeTypes"]["authorized_item"][]
        SetofOptions: {
          from: "*"
          to: "authorized_item"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      check_organization_monthly_quota: {
        Args: { p_monthly_limit?: number; p_organization_id: string }
        Returns: boolean
      }
      check_workflow_cost_limit: {
        Args: {
          p_additional_cost: number
          p_max_cost?: number
          p_organization_id?: string
          p_workflow_id: string
        }
        Returns: boolean
      }
      estimate_spend: {
        Args: {
          p_allow_partial?: boolean
          p_api_key_id?: string
          p_estimated_cost?: number
          p_input_tokens?: number
          p_max_output_tokens?: number
          p_minimum?: number
          p_model?: string
          p_organization_id: string
          p_provider?: string
          p_run_id?: string
          p_service_tier?: string
          p_tags?: Json
          p_user_id?: string
          p_venture_id?: string
          p_workflow_id?: string
        }
        Returns: Database["metering"]["CompositeTypes"]["spend_decision"]
        SetofOptions: {
          from: "*"
          to: "spend_decision"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      estimate_workflow_cost_limit: {
        Args: {
          p_additional_cost: number
          p_max_cost?: number
          p_organization_id?: string
          p_workflow_id: string
        }
        Returns: boolean
      }
      extend_hold: {
        Args: {
          p_additional_cost?: number
          p_expires_in?: string
          p_hold_id: string
          p_organization_id?: string
          p_request_id?: string
        }
        Returns: Database["metering"]["Tables"]["holds"]["Row"]
        SetofOptions: {
          from: "*"
          to: "holds"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      get_organization_monthly_ai_cost: {
        Args: { p_organization_id: string }
        Returns: number
      }
      ledger_amend_v0: {
        Args: {
          p_event_type?: string
          p_logical_id: string
          p_occurred_at?: string
          p_organization_id?: string
          p_payload?: Json
          p_supersedes_id?: string
        }
        Returns: {
          city_code: string | null
          country_code: string | null
          created_at: string
          domain: string
          entity_id: string | null
          entity_type: string | null
          event_type: string
          id: string
          locality_code: string | null
          logical_id: string
          occurred_at: string
          op: string
          organization_id: string
          owner_agent_id: string | null
          owner_user_id: string
          payload: NonNullable<Json>
          region_code: string | null
          revision: number
          supersedes_id: string | null
          xact_id: unknown
        }
        SetofOptions: {
          from: "*"
          to: "ledger_events_v0"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      ledger_assert_v0: {
        Args: {
          p_city_code?: string
          p_country_code?: string
          p_domain: string
          p_entity_id?: string
          p_entity_type?: string
          p_event_type: string
          p_locality_code?: string
          p_logical_id?: string
          p_occurred_at?: string
          p_organization_id?: string
          p_owner_agent_id?: string
          p_owner_user_id?: string
          p_payload?: Json
          p_region_code?: string
        }
        Returns: {
          city_code: string | null
          country_code: string | null
          created_at: string
          domain: string
          entity_id: string | null
          entity_type: string | null
          event_type: string
          id: string
          locality_code: string | null
          logical_id: string
          occurred_at: string
          op: string
          organization_id: string
          owner_agent_id: string | null
          owner_user_id: string
          payload: NonNullable<Json>
          region_code: string | null
          revision: number
          supersedes_id: string | null
          xact_id: unknown
        }
        SetofOptions: {
          from: "*"
          to: "ledger_events_v0"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      ledger_restate_v0: {
        Args: {
          p_logical_id: string
          p_organization_id?: string
          p_payload?: Json
          p_supersedes_id?: string
        }
        Returns: {
          city_code: string | null
          country_code: string | null
          created_at: string
          domain: string
          entity_id: string | null
          entity_type: string | null
          event_type: string
          id: string
          locality_code: string | null
          logical_id: string
          occurred_at: string
          op: string
          organization_id: string
          owner_agent_id: string | null
          owner_user_id: string
          payload: NonNullable<Json>
          region_code: string | null
          revision: number
          supersedes_id: string | null
          xact_id: unknown
        }
        SetofOptions: {
          from: "*"
          to: "ledger_events_v0"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      ledger_void_v0: {
        Args: {
          p_logical_id: string
          p_organization_id?: string
          p_supersedes_id?: string
          p_void_reason: string
          p_voided_by?: string
        }
        Returns: {
          city_code: string | null
          country_code: string | null
          created_at: string
          domain: string
          entity_id: string | null
          entity_type: string | null
          event_type: string
          id: string
          locality_code: string | null
          logical_id: string
          occurred_at: string
          op: string
          organization_id: string
          owner_agent_id: string | null
          owner_user_id: string
          payload: NonNullable<Json>
          region_code: string | null
          revision: number
          supersedes_id: string | null
          xact_id: unknown
        }
        SetofOptions: {
          from: "*"
          to: "ledger_events_v0"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      record_usage_and_increment: {
        Args: {
          p_completion_tokens: number
          p_cost: number
          p_model: string
          p_organization_id: string
          p_prompt_tokens: number
          p_request_id?: string
          p_workflow_id: string
        }
        Returns: undefined
      }
      record_venture_usage: {
        Args: {
          p_agent_type: string
          p_budget_profile?: string
          p_cost_usd: number
          p_crew_id?: string
          p_hold_id?: string
          p_is_simulation?: boolean
          p_job_id?: string
          p_lifecycle_stage: number
          p_metadata?: Json
          p_model_id: string
          p_operation_type?: string
          p_organization_id?: string
          p_phase?: string
          p_request_id?: string
          p_simulation_run_id?: string
          p_tokens_input: number
          p_tokens_output: number
          p_usage?: Json
          p_venture_id: string
        }
        Returns: {
          agent_type: string
          budget_allocation_pct: number | null
          budget_profile: string | null
          cost_usd: number | null
          created_at: string
          created_by: string | null
          crew_id: string | null
          id: string
          is_simulation: boolean | null
          job_id: string | null
          lifecycle_stage: number
          metadata: Json | null
          model_id: string | null
          operation_type: string | null
          organization_id: string
          phase: string | null
          simulation_run_id: string | null
          tokens_input: number
          tokens_output: number
          tokens_total: number | null
          usage_id: string | null
          venture_id: string
          xact_id: unknown
        }
        SetofOptions: {
          from: "*"
          to: "venture_token_ledger"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      release_spend: {
        Args: {
          p_hold_id: string
          p_organization_id?: string
          p_reason?: string
        }
        Returns: Database["metering"]["Tables"]["holds"]["Row"]
        SetofOptions: {
          from: "*"
          to: "holds"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      settle_spend: {
        Args: {
          p_cost?: number
          p_hold_id: string
          p_organization_id?: string
          p_request_id?: string
          p_usage?: Json
        }
        Returns: {
          api_key_id: string | null
          completion_tokens: number
          cost: number
          cost_basis: Database["metering"]["Enums"]["cost_basis"]
          created_at: string
          id: string
          listed_model: string | null
          markup_id: string | null
          model: string
          organization_id: string
          price_id: string | null
          prompt_tokens: number
          provider: string | null
          rates: Json | null
          run_id: string | null
          service_tier: string | null
          settled_at: string
          settlement: Database["metering"]["Enums"]["settlement"]
          tags: NonNullable<Json>
          token_counts: NonNullable<Json>
          unheld_usd: number
          user_id: string | null
          venture_id: string | null
          workflow_id: string | null
          xact_id: unknown
          zero_cost_reason:
            | Database["metering"]["Enums"]["zero_cost_reason"]
            | null
        }
        SetofOptions: {
          from: "*"
          to: "ai_usage_ledger"
          isOneToOne: true
          isSetofReturn: false
        }
      }
      settle_spend_batch: {
        Args: { p_items: Json; p_organization_id: string }
        Returns: Database["metering"]["CompositeTypes"]["settled_item"][]
        SetofOptions: {
          from: "*"
          to: "settled_item"
          isOneToOne: false
          isSetofReturn: true
        }
      }
      upsert_intent_workflow: {
        Args: { p_id: string; p_organization_id: string; p_workflow_data: Json }
        Returns: {
          created_at: string | null
          id: string | null
          organization_id: string | null
          updated_at: string | null
          workflow_data: Json | null
        }
        SetofOptions: {
          from: "*"
          to: "intent_workflows"
          isOneToOne: true
          isSetofReturn: false
        }
      }
    }
    Enums: {
      [_ in never]: never
    }
    CompositeTypes: {
      [_ in never]: never
    }
  }
  tenancy: {
    Tables: {
      memberships: {
        Row: {
          created_at: string
          organization_id: string
          role: string
          user_id: string
        }
        Insert: {
          created_at?: string
          organization_id: string
          role?: string
          user_id: string
        }
        Update: {
          created_at?: string
          organization_id?: string
          role?: string
          user_id?: string
        }
        Relationships: [
          {
            foreignKeyName: "memberships_organization_id_fkey"
            columns: ["organization_id"]
            referencedRelation: "organizations"
            referencedColumns: ["id"]
          },
        ]
      }
      organizations: {
        Row: {
          created_at: string
          frozen_at: string | null
          id: string
          name: string
          time_zone: string
        }
        Insert: {
          created_at?: string
          frozen_at?: string | null
          id?: string
          name: string
          time_zone?: string
        }
        Update: {
          created_at?: string
          frozen_at?: string | null
          id?: string
          name?: string
          time_zone?: string
        }
        Relationships: []
      }
      profiles: {
        Row: {
          created_at: string
          display_name: string
          updated_at: string
          user_id: string
        }
        Insert: {
          created_at?: string
          display_name: string
          updated_at?: string
          user_id: string
        }
        Update: {
          created_at?: string
          display_name?: string
          updated_at?: string
          user_id?: string
        }
        Relationships: []
      }
      ventures: {
        Row: {
          created_at: string
          id: string
          name: string
          organization_id: string
        }
        Insert: {
          created_at?: string
          id?: string
          name: string
          organization_id: string
        }
        Update: {
          created_at?: string
          id?: string
          name?: string
          organization_id?: string
        }
        Relationships: [
          {
            foreignKeyName: "ventures_organization_id_fkey"
            columns: ["organization_id"]
            referencedRelation: "organizations"
            referencedColumns: ["id"]
          },
        ]
      }
    }
    Views: {
      [_ in never]: never
    }
    Functions: {
      create_organization: {
        Args: { p_name: string; p_time_zone?: string }
        Returns: {
          created_at: string
          frozen_at: string | null
          id: string
          name: string
          time_zone: string
        }
        SetofOptions: {
          from: "*"
          to: "organizations"
          isOneToOne: true
          isSetofReturn: false
        }
      }
    }
    Enums: {
      [_ in never]: never
    }
    CompositeTypes: {
      [_ in never]: never
    }
  }
}

type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">]

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])[TableName] extends {
      Row: infer R
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] &
        DefaultSchema["Views"])
    ? (DefaultSchema["Tables"] &
        DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
        Row: infer R
      }
      ? R
      : never
    : never

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Insert: infer I
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Insert: infer I
      }
      ? I
      : never
    : never

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Update: infer U
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Update: infer U
      }
      ? U
      : never
    : never

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends (DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never) = never,
> = DefaultSchemaEnumNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
    ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
    : never

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends (PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never) = never,
> = PublicCompositeTypeNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
    ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
    : never

export const Constants = {
  accounting: {
    Enums: {},
  },
  audit: {
    Enums: {},
  },
  billing: {
    Enums: {},
  },
  metering: {
    Enums: {
      cost_basis: ["priced", "stated", "estimated"],
      hold_state: ["open", "released", "expired"],
      operation: [
        "authorize",
        "extend",
        "settle",
        "record",
        "start_run",
        "extend_run",
      ],
      settlement: ["on_hold", "after_hold", "without_hold"],
      zero_cost_reason: [
        "stated",
        "free_model",
        "full_discount",
        "below_precision",
      ],
    },
  },
  pricing: {
    Enums: {
      name_match: ["exact", "prefix", "suffix", "contains", "regex"],
      token_class: [
        "input_tokens",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "input_audio_tokens",
        "cache_read_audio_tokens",
        "input_image_tokens",
        "cache_read_image_tokens",
        "output_tokens",
        "reasoning_tokens",
        "output_audio_tokens",
        "output_image_tokens",
        "requests",
        "web_searches",
        "file_searches",
      ],
    },
  },
  public: {
    Enums: {},
  },
  tenancy: {
    Enums: {},
  },
} as const


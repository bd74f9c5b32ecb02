@control @services @gate
Feature: Control: a rollback that signs users out

  The column goes, the schema is right and the old code runs. The sessions keep a form that it does not know, and
  every user who came by meanwhile has to sign in again.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The sessions keep the form of the bad release
    When release "v2-changes-tokens" is deployed over "v1"
    Then the trap is there
    When it is rolled back by the plan "leaves-tokens"
    Then the drill fails because "sessions from before are accepted"
